//! Recovery: claims of daemons that died or have gone silent are freed, and what they were doing is looked up.

use serde_json::json;

use crate::{
    billing::{App, Result},
    domain::{
        authorization::Authorization, clock::Timeline, event::Actor, payment::Payment, payment_request::PaymentRequest,
        refund::Refund,
    },
    store,
};

/// Frees what the previous run of this daemon (if `starting`), or a daemon that has gone silent, was doing. What it was doing is looked
/// up next. Answers how many claims were freed.
pub async fn recover(app: &App, starting: bool) -> Result<u64> {
    let now = app.clock.now();
    let restarted_as = starting.then_some(app.instance.as_str());
    let mut tx = app.db.begin().await?;
    let mut freed = store::leases::expire::<Payment>(&mut tx, now, restarted_as).await?;
    freed += store::leases::expire::<Refund>(&mut tx, now, restarted_as).await?;
    freed += store::leases::expire::<Authorization>(&mut tx, now, restarted_as).await?;
    if starting {
        freed += store::leases::release_lookups::<Payment>(&mut tx, now, &app.instance).await?;
        freed += store::leases::release_lookups::<Refund>(&mut tx, now, &app.instance).await?;
        freed += store::leases::release_lookups::<Authorization>(&mut tx, now, &app.instance).await?;
        freed += store::leases::release_lookups::<PaymentRequest>(&mut tx, now, &app.instance).await?;
        freed += store::clocks::release_claims(&mut tx, &app.instance).await?;
        freed += store::occurrences::release(&mut tx, now, &app.instance).await?;
    }
    if freed > 0 {
        let event = app.event(
            Timeline::Wall,
            now,
            &Actor::System,
            "claims.recovered",
            &app.instance,
            json!({ "freed": freed, "at_start": starting }),
        );
        store::events::append(&mut tx, &[event]).await?;
        tx.commit().await?;
    }
    Ok(freed)
}
