//! Figures over a span of time, for people: what was charged, declined, recovered and lost. Reads history, so never on a hot path.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Db, Result};
use crate::domain::{clock::Timeline, money::Currency};

/// What happened in one span and currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Payments that succeeded.
    pub charges: i64,
    pub declines: i64,
    /// Of the charges, those whose invoice had been declined before.
    pub recovered: i64,
    /// Invoices given up.
    pub lost: i64,
    /// Money in, minor units. Refunds are not taken off.
    pub total: i64,
}

/// The figures of a timeline in `[from, to)` by its own clock.
pub async fn between(db: &Db, timeline: Timeline, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<BTreeMap<Currency, Figures>> {
    let payments: Vec<(Currency, i64, i64, i64, i64)> = db
        .query(
            "select p.currency,
                 count(*) filter (where p.status in ('succeeded', 'refunded')),
                 count(*) filter (where p.status = 'declined'),
                 count(*) filter (where p.status in ('succeeded', 'refunded') and exists (
                     select 1 from payments d where d.invoice_id = p.invoice_id and d.status = 'declined' and d.id < p.id)),
                 cast(coalesce(sum(p.amount_captured) filter (where p.status in ('succeeded', 'refunded')), 0) as bigint)
             from payments p where p.timeline = $1 and p.resolved_at >= $2 and p.resolved_at < $3 group by p.currency",
        )
        .bind(timeline)
        .bind(from)
        .bind(to)
        .all()
        .await?;
    // Counted by events, since the row of an invoice knows only its latest change.
    let lost: Vec<(Currency, i64)> = db
        .query(
            "select i.currency, count(*) from events e join invoices i on i.id = e.subject
             where e.type = 'invoice.uncollectible' and e.timeline = $1 and e.occurred_at >= $2 and e.occurred_at < $3
             group by i.currency",
        )
        .bind(timeline)
        .bind(from)
        .bind(to)
        .all()
        .await?;
    let mut figures: BTreeMap<Currency, Figures> = BTreeMap::new();
    for (currency, charges, declines, recovered, total) in payments {
        figures.insert(currency, Figures { charges, declines, recovered, lost: 0, total });
    }
    for (currency, count) in lost {
        figures.entry(currency).or_default().lost = count;
    }
    Ok(figures)
}

/// What a timeline has not brought to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Unfinished {
    pub invoices_open: i64,
    pub payments_parked: i64,
    pub subscriptions_parked: i64,
}

pub async fn unfinished(db: &Db, timeline: Timeline) -> Result<Unfinished> {
    db.query(
        "select (select count(*) from invoices where timeline = $1 and status = 'open') as invoices_open,
                (select count(*) from payments where timeline = $1 and status = 'parked') as payments_parked,
                (select count(*) from subscriptions where timeline = $1 and status = 'parked') as subscriptions_parked",
    )
    .bind(timeline)
    .one()
    .await
}

/// Money that came in by one payment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct Taken {
    pub reference: String,
    pub transaction_id: Option<String>,
    /// Minor units.
    pub amount_captured: i64,
    pub currency: Currency,
}

/// Every payment of a timeline by which money came in, in order of creation.
pub async fn taken(db: &Db, timeline: Timeline) -> Result<Vec<Taken>> {
    taken_since(db, timeline, DateTime::UNIX_EPOCH).await
}

/// Payments that came to their end at an instant of the timeline's clock, or later.
pub async fn taken_since(db: &Db, timeline: Timeline, since: DateTime<Utc>) -> Result<Vec<Taken>> {
    db.query(
        "select reference, transaction_id, amount_captured, currency from payments
         where timeline = $1 and amount_captured > 0 and resolved_at >= $2 order by id",
    )
    .bind(timeline)
    .bind(since)
    .all()
    .await
}
