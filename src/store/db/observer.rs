//! A seam for the simulation: whoever watches a database sees each statement and each end of a transaction, and runs it when it
//! wants to. A database that nobody watches pays one branch for it.

use std::{any::Any, pin::Pin, sync::Arc};

use super::{Db, Result};

type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the database is about to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    Begin,
    /// A statement; `in_transaction`: one of a transaction, else a plain read.
    Statement {
        sql: &'a str,
        in_transaction: bool,
    },
    Commit,
}

/// Watches one database handle.
#[doc(hidden)]
pub trait Tap: Send + Sync {
    /// Before anything is sent; an error is what the caller gets instead.
    fn before<'a>(&'a self, ask: Ask<'a>) -> Wait<'a, Result<()>>;

    /// Does the database's work to its end.
    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>);

    /// After the work; an error is what the caller gets although it is done.
    fn after<'a>(&'a self, ask: Ask<'a>) -> Wait<'a, Result<()>>;

    /// Kept for as long as a transaction lives.
    fn transaction(&self) -> Box<dyn Any + Send + Sync>;

    /// Around the moment in which a transaction gives its connection back.
    fn leaving(&self);
    fn left(&self);
}

pub(super) type Watched = Option<Arc<dyn Tap>>;

impl Db {
    /// The same database, watched.
    #[doc(hidden)]
    pub fn tapped(&self, tap: Arc<dyn Tap>) -> Self {
        Self { tap: Some(tap), ..self.clone() }
    }
}

/// Does a piece of the database's work, seen by whoever watches.
pub(super) async fn through<T: Send>(watched: &Watched, ask: Ask<'_>, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let Some(tap) = watched else { return work.await };
    if let Err(error) = tap.before(ask).await {
        tap.leaving();
        drop(work);
        tap.left();
        return Err(error);
    }
    let mut done = None;
    tap.run(std::pin::pin!(async { done = Some(work.await) }));
    tap.after(ask).await?;
    done.unwrap_or_else(|| Err(super::Error::Database("the watcher did not do the work".to_owned())))
}

/// The field before and the field after what a transaction drops.
pub(super) struct Edge {
    watched: Watched,
    kept: Option<Box<dyn Any + Send + Sync>>,
}

impl Edge {
    pub fn leaving(watched: &Watched) -> Self {
        Self { watched: watched.clone(), kept: None }
    }

    pub fn left(watched: &Watched) -> Self {
        Self { watched: watched.clone(), kept: watched.as_ref().map(|tap| tap.transaction()) }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let Some(tap) = &self.watched else { return };
        if self.kept.is_some() { tap.left() } else { tap.leaving() }
    }
}
