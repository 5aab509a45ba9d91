//! A keyed hash before each value: whoever can write to Redis but does not have the network's key cannot make gateways
//! believe anything. Replaying an old value under its own name is possible; so values that can grow old carry their time.

/// Bytes of the hash that are kept: forging one takes 2^127 tries on average, each at a running gateway.
const MAC_BYTES: usize = 16;

/// The key of all values of one network.
pub(crate) struct Seal {
    key: [u8; 32],
}

impl Seal {
    /// From the network's secret key.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self { key: blake3::derive_key("pinstripe 2026-11 values in redis", secret) }
    }

    /// A value as it is kept under a name.
    pub(crate) fn close(&self, name: &str, value: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(MAC_BYTES + value.len());
        sealed.extend_from_slice(&self.mac(name, value));
        sealed.extend_from_slice(value);
        sealed
    }

    /// The value, if it was closed with this key under this name.
    pub(crate) fn open<'a>(&self, name: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, value) = sealed.split_at_checked(MAC_BYTES)?;
        let mut wanted = [0; blake3::OUT_LEN];
        wanted[..MAC_BYTES].copy_from_slice(&self.mac(name, value));
        let mut given = [0; blake3::OUT_LEN];
        given[..MAC_BYTES].copy_from_slice(mac);
        // `Hash` is compared in constant time.
        (blake3::Hash::from(wanted) == blake3::Hash::from(given)).then_some(value)
    }

    /// What stands for a key in names: nobody reads addresses or accounts in Redis.
    pub(crate) fn name_of(&self, kind: &str, key: &str) -> String {
        let hash = self.hash(kind, key.as_bytes());
        hash.to_hex()[..2 * MAC_BYTES].to_string()
    }

    fn mac(&self, name: &str, value: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&self.hash(name, value).as_bytes()[..MAC_BYTES]);
        mac
    }

    fn hash(&self, name: &str, value: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(value);
        hasher.finalize()
    }
}
