//! Places for uploads in progress: so many at once, and so many of one account, so that none keeps the others out.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;

use super::UploadError;

/// The places of a gateway; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UploadSlots {
    taken: Arc<Mutex<Taken>>,
    total_max: usize,
    account_max: usize,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// By account; those without an upload are not in it.
    accounts: HashMap<String, usize>,
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct UploadSlot {
    slots: UploadSlots,
    account: String,
}

impl UploadSlots {
    pub(crate) fn new(total_max: usize, account_max: usize) -> Self {
        Self { taken: Arc::default(), total_max, account_max }
    }

    /// A place for an upload of this account, or `Busy`.
    pub(crate) fn take(&self, account: &str) -> Result<UploadSlot, UploadError> {
        let mut taken = self.taken.lock();
        let own = taken.accounts.get(account).copied().unwrap_or(0);
        if taken.total >= self.total_max || own >= self.account_max {
            return Err(UploadError::Busy);
        }
        taken.total += 1;
        taken.accounts.insert(account.to_string(), own + 1);
        Ok(UploadSlot { slots: self.clone(), account: account.to_string() })
    }
}

#[cfg(test)]
impl UploadSlots {
    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().total
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.total -= 1;
        if let Entry::Occupied(mut own) = taken.accounts.entry(std::mem::take(&mut self.account)) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}
