//! The simulation's way in: an observer sees each statement and each end of a transaction, and decides when it runs. Without an
//! observer this costs one branch.

use std::{any::Any, pin::Pin, sync::Arc};

use super::{Db, Result};

type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the database is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbOperation<'a> {
    Begin,
    /// A statement, inside a transaction or as a read of its own.
    Statement {
        sql: &'a str,
        in_transaction: bool,
    },
    Commit,
}

/// Observes one database handle.
#[doc(hidden)]
pub trait DbObserver: Send + Sync {
    /// Called before anything is sent. An error goes to the caller, and nothing is sent.
    fn before<'a>(&'a self, operation: DbOperation<'a>) -> Wait<'a, Result<()>>;

    /// Runs the database's work to its end.
    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>);

    /// Called after the work. An error goes to the caller, although the work is done.
    fn after<'a>(&'a self, operation: DbOperation<'a>) -> Wait<'a, Result<()>>;

    /// Gives a value that the transaction keeps until it has given its connection back.
    fn transaction(&self) -> Box<dyn Any + Send + Sync>;

    /// Called before a transaction gives its connection back.
    fn leaving(&self);

    /// Called after it.
    fn left(&self);
}

pub(super) type Observer = Option<Arc<dyn DbObserver>>;

impl Db {
    /// This database with an observer.
    #[doc(hidden)]
    pub fn observed_by(&self, observer: Arc<dyn DbObserver>) -> Self {
        Self { observer: Some(observer), ..self.clone() }
    }
}

/// Does a piece of the database's work in the sight of the observer, if there is one.
pub(super) async fn observed<T: Send>(
    watched: &Observer,
    operation: DbOperation<'_>,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let Some(observer) = watched else { return work.await };
    if let Err(error) = observer.before(operation).await {
        observer.leaving();
        drop(work);
        observer.left();
        return Err(error);
    }
    let mut done = None;
    observer.run(std::pin::pin!(async { done = Some(work.await) }));
    observer.after(operation).await?;
    done.unwrap_or_else(|| Err(super::Error::Database("the observer did not do the work".to_owned())))
}

/// The field before and the field after what a transaction drops.
pub(super) struct ConnectionGuard {
    watched: Observer,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl ConnectionGuard {
    pub fn leaving(watched: &Observer) -> Self {
        Self { watched: watched.clone(), kept: None }
    }

    pub fn left(watched: &Observer) -> Self {
        Self { watched: watched.clone(), kept: watched.as_ref().map(|observer| observer.transaction()) }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let Some(observer) = &self.watched else { return };
        if self.kept.is_some() { observer.left() } else { observer.leaving() }
    }
}
