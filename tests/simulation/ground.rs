//! The database under the runs of one thread: migrated once, emptied before each run, gone with the thread.

use std::{
    any::Any,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use rebilld::store::{
    self, Db,
    db::{DbObserver, DbOperation},
    tables::{LEFT_OUT, TABLES},
};
use tempfile::TempDir;

use super::watch::{databases, finish};

pub struct Ground {
    /// For whoever sets up and checks: comes to its end at once, and nothing else.
    pub db: Db,
    empty: Vec<&'static str>,
    _folder: TempDir,
}

/// In memory where there is such a place; nobody waits for a disk.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

impl Ground {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rebilld-simulation").tempdir_in(place()).expect("a folder");
        let db = databases().block_on(Db::scratch(&folder.path().join("simulation.db"))).expect("a database");
        let names = TABLES.iter().rev().map(|table| table.name).chain(LEFT_OUT.iter().map(|left| left.0));
        let statement = |name: &str| {
            if name == "counters" { "update counters set value = 0".to_owned() } else { format!("delete from {name}") }
        };
        // One list for each thread, for as long as the process.
        let empty = names.map(|name| &*statement(name).leak()).collect();
        Self { db: db.observed_by(Arc::new(Still)), empty, _folder: folder }
    }

    pub async fn clear(&self) {
        let mut tx = self.db.begin().await.expect("a transaction");
        tx.query("pragma defer_foreign_keys = on").run().await.expect("deferred");
        for statement in &self.empty {
            tx.query(*statement).run().await.expect("emptied");
        }
        tx.commit().await.expect("emptied");
    }
}

/// Does the work and does not look.
struct Still;

type Wait<'a> = Pin<Box<dyn Future<Output = store::Result<()>> + Send + 'a>>;

impl DbObserver for Still {
    fn before<'a>(&'a self, _: DbOperation<'a>) -> Wait<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        finish(work);
    }

    fn after<'a>(&'a self, _: DbOperation<'a>) -> Wait<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn transaction(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }

    fn leaving(&self) {
        super::watch::go_inside();
    }

    fn left(&self) {
        super::watch::come_out();
    }
}
