//! What makes Paysley call the merchant: a customer who pays, a recurring payment that falls due.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    call::{CallOperation, SandboxGateway, Target},
    faults::{Aim, Fault},
    handle::Sandbox,
    paysley::{self, Callback, Pay},
};

impl Sandbox {
    /// Plays the customer who opens a payment link, as `POST /_sandbox/paysley/pay` does. Returns the payment's id after the
    /// callback was sent, or why the link could not be paid.
    pub async fn pay(self: &Arc<Self>, pay: Pay) -> Result<String, String> {
        let (payment_id, callback) = paysley::pay(&mut self.state(), &pay, (self.now)())?;
        if let Some(callback) = callback {
            Arc::clone(self).call_back(callback).await;
        }
        Ok(payment_id)
    }

    /// Moves Paysley's own clock to an instant and makes the recurring payments that fall due by then. Returns their ids.
    pub async fn run_schedules(self: &Arc<Self>, until: DateTime<Utc>) -> Vec<String> {
        let made = paysley::run_schedules(&mut self.state(), until);
        let mut ids = Vec::with_capacity(made.len());
        for (id, callback) in made {
            if let Some(callback) = callback {
                Arc::clone(self).call_back(callback).await;
            }
            ids.push(id);
        }
        ids
    }

    async fn call_back(self: Arc<Self>, callback: Callback) {
        let target = Target { reference: Some(callback.reference.clone()), ..Target::default() };
        let aim = Aim { gateway: SandboxGateway::Paysley, operation: CallOperation::Callback, path: &callback.url, target };
        let fault = self.state().faults.strike(&aim);
        let times = match fault {
            Some(Fault::DropBefore) => 0,
            Some(Fault::Duplicate) => 2,
            _ => 1,
        };
        let late = Arc::clone(&self);
        let deliver = async move {
            if let Some(Fault::Delay { ms }) = fault {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            for _ in 0..times {
                callback.send().await;
            }
        };
        let task = late.calls.spawn(deliver);
        if !matches!(fault, Some(Fault::Delay { .. })) {
            // Fails if the task panicked; that counts as a callback that did not arrive.
            let _ = task.await;
        }
    }
}
