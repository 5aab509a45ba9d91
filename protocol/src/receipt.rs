//! Receipts of enrolment: signed by the network, kept by the node. With one a node is let in again by a network whose
//! database has lost it, under the operator and since the time that it had.

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    ids::NodeId,
    time::UnixMillis,
    token::{self, TokenError},
};

const DOMAIN: &str = "pinstripe receipt v1";

/// Longest receipt that is looked at, in letters.
pub const RECEIPT_LEN_MAX: usize = 4096;

/// What the network confirms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The node.
    pub node: NodeId,
    /// Who runs it and is paid.
    pub operator: String,
    /// When it joined.
    pub enrolled: UnixMillis,
    /// Where it was found to be.
    pub region: String,
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
}

impl Receipt {
    /// The signed, printable form.
    pub fn sign(&self, key: &SigningKey) -> String {
        let payload = serde_ipld_dagcbor::to_vec(self).expect("text and finite numbers always encode");
        token::sign(key, DOMAIN, &payload)
    }

    /// Reads and checks one that is about `node`.
    pub fn verify(key: &VerifyingKey, node: NodeId, text: &str) -> Result<Self, TokenError> {
        if text.len() > RECEIPT_LEN_MAX {
            return Err(TokenError::Malformed);
        }
        let payload = token::verify(key, DOMAIN, text)?;
        let receipt: Self = serde_ipld_dagcbor::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        if receipt.node == node { Ok(receipt) } else { Err(TokenError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_bound_to_its_node_and_network() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let receipt = Receipt {
            node: NodeId([1; 32]),
            operator: "somebody".into(),
            enrolled: UnixMillis(1_700_000_000_000),
            region: "eu".into(),
            country: Some("DE".into()),
            latitude: Some(52.5),
            longitude: None,
        };
        let text = receipt.sign(&key);
        let network = key.verifying_key();
        assert_eq!(Receipt::verify(&network, receipt.node, &text), Ok(receipt));
        assert!(Receipt::verify(&network, NodeId([2; 32]), &text).is_err());
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        assert_eq!(Receipt::verify(&other, NodeId([1; 32]), &text), Err(TokenError::BadSignature));
        assert!(Receipt::verify(&network, NodeId([1; 32]), &"A".repeat(RECEIPT_LEN_MAX + 1)).is_err());
    }
}
