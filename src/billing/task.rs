//! A part of a run on another processor.

use std::{future::pending, panic::resume_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Does a part of a run as a task of its own, so that its computing and its caller's go on at the same time. It ends with the caller: in
/// a panic too, and when this is dropped. On a runtime of one thread, where nothing is gained, the caller does it itself.
pub(crate) async fn offload<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work.await;
    }
    match AbortOnDropHandle::new(tokio::spawn(work.in_current_span())).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime goes down, and the caller with it.
            Err(_) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use super::*;

    struct Told(Arc<AtomicBool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a task that works offload is its own helper.
    async fn does_it_itself() -> bool {
        let work = async {
            let caller = tokio::task::id();
            offload(async { tokio::task::id() }).await == caller
        };
        tokio::spawn(work).await.expect("joined")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn others_can_do_it_meanwhile() {
        assert!(!does_it_itself().await);
    }

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        assert!(does_it_itself().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_ends_when_its_caller_does() {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Told(ended.clone());
        let work = offload(async move {
            let _told = told;
            pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err());
        for _ in 0..3000 {
            if ended.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it goes on without its caller");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[should_panic(expected = "as it is")]
    async fn a_panic_is_the_callers() {
        offload(async { panic!("as it is") }).await;
    }
}
