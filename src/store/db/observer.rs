//! The simulation's way in: an observer sees each statement and each end of a transaction, and decides when it runs. Without an
//! observer this costs one branch.

use std::{any::Any, pin::Pin, sync::Arc};

use super::{Db, Inner, Result};

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
    observer: &Observer,
    operation: DbOperation<'_>,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let Some(observer) = observer else { return work.await };
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

/// A transaction's connection: the observer hears before and after it goes back to its pool.
pub(super) struct ConnectionGuard {
    /// Empty once a commit has taken it.
    connection: Option<Inner>,
    observer: Observer,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl ConnectionGuard {
    pub fn new(connection: Inner, observer: &Observer) -> Self {
        let kept = observer.as_ref().map(|observer| observer.transaction());
        Self { connection: Some(connection), observer: observer.clone(), kept }
    }

    pub fn get(&mut self) -> &mut Inner {
        self.connection.as_mut().unwrap_or_else(|| unreachable!("a commit ends the transaction"))
    }

    /// For the commit, which ends the transaction.
    pub fn take(&mut self) -> Inner {
        self.connection.take().unwrap_or_else(|| unreachable!("a commit ends the transaction"))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if let Some(observer) = &self.observer {
            observer.leaving();
        }
        drop(self.connection.take());
        if let Some(observer) = &self.observer {
            observer.left();
        }
        // The observer's own value goes last: with it goes the turn of this writer.
        drop(self.kept.take());
    }
}
