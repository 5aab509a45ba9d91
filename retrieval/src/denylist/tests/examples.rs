//! The examples of the specification and of the validator that it names, with what they are said to deny.

use super::*;

#[track_caller]
fn check(list: &str, denied: &[&str], allowed: &[&str]) {
    let rules = rules(list);
    for name in denied {
        assert_eq!(verdict(&rules, name), Some(Denial::Gone), "{name} by {list}");
    }
    for name in allowed {
        assert_eq!(verdict(&rules, name), None, "{name} by {list}");
    }
}

#[test]
fn a_cid_is_denied_by_its_multihash_and_paths_below_it_are_not() {
    check(
        "/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq\n",
        &[
            "bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq",
            "bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq",
            "QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo",
        ],
        &[
            "QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo/sub4",
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "bafyaabakaieac",
            "bafkqaaa",
        ],
    );
}

#[test]
fn a_star_denies_what_begins_so() {
    let cid = "QmdWFA9FL52hx3j9EJZPQP1ZUH8Ygi5tLCX2cRDs6knSf8";
    check(&format!("/ipfs/{cid}/*\n"), &[cid, &format!("{cid}/a/b"), &format!("{cid}/z")], &[]);
    for rule in ["test*", "test/*"] {
        check(
            &format!("/ipfs/{cid}/{rule}\n"),
            &[&format!("{cid}/test"), &format!("{cid}/test2"), &format!("{cid}/test/one")],
            &[cid, &format!("{cid}/tes"), &format!("{cid}/one/test")],
        );
    }
}

#[test]
fn the_last_rule_that_matches_wins() {
    let cid = "QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK";
    let list = format!(
        "/ipfs/{cid}/blocked*\n!/ipfs/{cid}/blockednot\n!/ipfs/{cid}/blocked/not\n!/ipfs/{cid}/blocked/exceptions*\n"
    );
    check(
        &list,
        &[&format!("{cid}/blocked"), &format!("{cid}/blocked2"), &format!("{cid}/blockednot/x")],
        &[
            &format!("{cid}/blockednot"),
            &format!("{cid}/blocked/not"),
            &format!("{cid}/blocked/exceptions"),
            &format!("{cid}/blocked/exceptions2"),
            &format!("{cid}/blocked/exceptions/one"),
        ],
    );
    check(&format!("!/ipfs/{cid}\n/ipfs/{cid}\n"), &[cid], &[]);
    check(&format!("/ipfs/{cid}\n!/ipfs/{cid}\n"), &[], &[cid]);
    check(&format!("/ipfs/{cid}\n!/ipfs/{cid}/*\n"), &[], &[cid]);
    check(&format!("!/ipfs/{cid}\n/ipfs/{cid}\n!/ipfs/{cid}/a\n"), &[cid], &[&format!("{cid}/a")]);
}

#[test]
fn names_in_hex_are_of_a_cid_with_its_codec() {
    let cid = "bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e";
    let raw = Cid::from_sha2_256(content::Codec::Raw, {
        let dag_pb: Cid = cid.parse().unwrap();
        dag_pb.digest().try_into().unwrap()
    });
    check(
        "//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7\n",
        &[cid],
        &[&format!("{cid}/path"), &raw.to_string()],
    );
    check(
        "//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572\n",
        &[&format!("{cid}/path")],
        &[cid, &format!("{cid}/path2")],
    );
}

#[test]
fn names_in_multihashes_are_of_a_multihash() {
    check(
        "//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM\n",
        &[
            "bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja",
            "QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR",
        ],
        &[
            "QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR/path",
            "QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM",
        ],
    );
    check(
        "//QmSju6XPmYLG611rmK7rEeCMFVuL6EHpqyvmEU6oGx3GR8\n",
        &["bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze/my/path"],
        &["bafybeihrw75yfhdx5qsqgesdnxejtjybscwuclpusvxkuttep6h7pkgmze"],
    );
    let blake = "bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a";
    let other = "f01701e20903cf61d46521b05f926ba1634628d0bba8a7ffb5b6d5a3ca310682ca63b5ef0";
    // The specification hashes with BLAKE3, the validator with SHA-256.
    for rule in [
        "//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX",
        "//QmbK7LDv5NNBvYQzNfm2eED17SNLt1yNMapcUhSuNLgkqz",
    ] {
        check(
            &format!("{rule}\n"),
            &[&format!("{blake}/path"), &format!("{other}/path")],
            &[blake, other, &format!("{blake}/path2")],
        );
    }
}

#[test]
fn an_exception_can_be_hashed_too() {
    let v0 = "QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR";
    check(
        &format!("/ipfs/{v0}/*\n!//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM\n"),
        &[&format!("{v0}/a")],
        &[v0],
    );
}

#[test]
fn hints_say_how_it_is_refused() {
    let (a, b) =
        ("QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    let rules =
        rules(&format!("hints:\n  status: 451\n---\n/ipfs/{a}\n/ipfs/{b} status:410\n/ipfs/{b}/x*\n"));
    assert_eq!(verdict(&rules, a), Some(Denial::Legal));
    assert_eq!(verdict(&rules, b), Some(Denial::Gone));
    assert_eq!(verdict(&rules, &format!("{b}/x")), Some(Denial::Legal));
}
