//! Locked rows by id: changed in memory, and written at the save if they changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    id::InvoiceId,
    invoice::{Invoice, InvoiceStatus},
};

pub(super) struct Rows<K, T> {
    rows: BTreeMap<K, T>,
    changed: BTreeSet<K>,
}

impl<K, T> Default for Rows<K, T> {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

impl<K, T> From<BTreeMap<K, T>> for Rows<K, T> {
    fn from(rows: BTreeMap<K, T>) -> Self {
        Self { rows, changed: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, T: Clone> Rows<K, T> {
    pub fn new(rows: Vec<T>, id: impl Fn(&T) -> K) -> Self {
        rows.into_iter().map(|row| (id(&row), row)).collect::<BTreeMap<K, T>>().into()
    }

    pub fn get(&self, id: K) -> Option<&T> {
        self.rows.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.rows.values()
    }

    /// A row that is about to change.
    pub fn change(&mut self, id: K) -> Option<&mut T> {
        self.change_if(id, |_| true)
    }

    /// A row that is about to change, if it is as it must be for that.
    pub fn change_if(&mut self, id: K, condition: impl FnOnce(&T) -> bool) -> Option<&mut T> {
        let row = self.rows.get_mut(&id).filter(|row| condition(row))?;
        self.changed.insert(id);
        Some(row)
    }

    /// Replaces a row by what it is now.
    pub fn replace(&mut self, id: K, row: T) {
        self.rows.insert(id, row);
        self.changed.insert(id);
    }

    /// Adds a row that is stored as it is.
    pub fn add(&mut self, id: K, row: T) {
        self.rows.insert(id, row);
    }

    pub fn changed(&self) -> impl Iterator<Item = (K, &T)> {
        self.changed.iter().filter_map(|id| Some((*id, self.rows.get(id)?)))
    }

    /// The rows to be written, in the order of their ids.
    pub fn to_save(&self) -> Vec<T> {
        self.changed().map(|(_, row)| row.clone()).collect()
    }
}

impl Rows<InvoiceId, Invoice> {
    /// An open invoice that is about to change.
    pub fn change_open(&mut self, id: InvoiceId) -> Option<&mut Invoice> {
        self.change_if(id, |invoice| invoice.status == InvoiceStatus::Open)
    }
}
