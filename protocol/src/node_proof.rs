//! How a node proves to a gateway that a request is its own: a signature over method, path, time and body.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{ids::NodeId, order::CLOCK_SKEW_MAX, time::UnixMillis};

/// Name of the header that carries the proof.
pub const NODE_PROOF_HEADER: &str = "pinstripe-node";

const DOMAIN: &[u8] = b"pinstripe node request v1\0";

/// Why a proof is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeProofError {
    /// Not of the form `id.time.signature`.
    #[error("malformed node proof")]
    Malformed,
    /// The two clocks are too far apart; the times are the node's and the gateway's.
    #[error("node clock says {0}, ours says {1}: set the clocks right")]
    Clock(UnixMillis, UnixMillis),
    /// Not signed by that node, or made for another request.
    #[error("bad node signature")]
    BadSignature,
}

fn message(method: &str, path: &str, at: UnixMillis, body: &[u8]) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(method.as_bytes());
    message.push(0);
    message.extend_from_slice(path.as_bytes());
    message.push(0);
    message.extend_from_slice(&at.0.to_le_bytes());
    message.extend_from_slice(blake3::hash(body).as_bytes());
    message
}

/// The value of the proof header for a request.
pub fn prove(key: &SigningKey, method: &str, path: &str, at: UnixMillis, body: &[u8]) -> String {
    let id = NodeId(key.verifying_key().to_bytes());
    let signature = key.sign(&message(method, path, at, body)).to_bytes();
    format!("{id}.{}.{}", at.0, data_encoding::BASE64URL_NOPAD.encode(&signature))
}

/// Checks a proof and gives the node that made it. A proof can be repeated within the allowed clock difference, so
/// requests that it protects must be idempotent.
pub fn check(
    proof: &str,
    method: &str,
    path: &str,
    now: UnixMillis,
    body: &[u8],
) -> Result<NodeId, NodeProofError> {
    let mut parts = proof.splitn(3, '.');
    let (Some(id), Some(at), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NodeProofError::Malformed);
    };
    let id: NodeId = id.parse().map_err(|_| NodeProofError::Malformed)?;
    let at = UnixMillis(at.parse().map_err(|_| NodeProofError::Malformed)?);
    let signature = data_encoding::BASE64URL_NOPAD
        .decode(signature.as_bytes())
        .ok()
        .and_then(|bytes| Signature::from_slice(&bytes).ok())
        .ok_or(NodeProofError::Malformed)?;
    if at.since(now) > CLOCK_SKEW_MAX || now.since(at) > CLOCK_SKEW_MAX {
        return Err(NodeProofError::Clock(at, now));
    }
    let key = VerifyingKey::from_bytes(&id.0).map_err(|_| NodeProofError::BadSignature)?;
    key.verify_strict(&message(method, path, at, body), &signature)
        .map_err(|_| NodeProofError::BadSignature)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_proof_holds_for_one_request_at_one_time() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let now = UnixMillis(1_000_000_000);
        let proof = prove(&key, "POST", "/v1/nodes/heartbeat", now, b"body");
        let check = |method, path, now, body| check(&proof, method, path, now, body);
        let id = NodeId(key.verifying_key().to_bytes());
        assert_eq!(check("POST", "/v1/nodes/heartbeat", now, b"body"), Ok(id));
        assert_eq!(check("POST", "/v1/nodes/heartbeat", now, b"other"), Err(NodeProofError::BadSignature));
        assert_eq!(check("POST", "/v1/nodes/enrol", now, b"body"), Err(NodeProofError::BadSignature));
        assert_eq!(check("GET", "/v1/nodes/heartbeat", now, b"body"), Err(NodeProofError::BadSignature));
        let later = now + CLOCK_SKEW_MAX + Duration::from_secs(1);
        assert_eq!(
            check("POST", "/v1/nodes/heartbeat", later, b"body"),
            Err(NodeProofError::Clock(now, later))
        );
        assert_eq!(super::check("..", "GET", "/", now, b""), Err(NodeProofError::Malformed));
    }
}
