//! Finding rows: pages by cursor, what is due and when the next thing will be.

use rebilld::{
    domain::{clock::Timeline, event::Event, id::EventId, invoice::Invoice, subscription::Subscription},
    store::{
        self, Tx,
        page::{self, Cursor, Request},
    },
};

use super::{TestDatabase, on_both, samples};

async fn append(database: &TestDatabase, count: usize, kind: &str) -> Vec<EventId> {
    let events: Vec<Event> = (0..count).map(|_| samples::event(kind, "x")).collect();
    database.write(async |tx: &mut Tx| store::events::append(tx, &events).await).await;
    events.iter().map(|event| event.id).collect()
}

async fn page(database: &TestDatabase, cursor: Cursor, limit: i64, filters: &[(&'static str, &str)]) -> (Vec<EventId>, bool) {
    let filters = filters.iter().map(|(column, value)| (*column, (*value).to_owned())).collect();
    let found = page::list::<Event>(&database.db, Request { filters, cursor, limit }).await.expect("page");
    (found.rows.iter().map(|event| event.id).collect(), found.has_more)
}

on_both! {
    async fn pages_have_no_gap_and_no_overlap_while_rows_come_in(database: &TestDatabase) {
        let mut there = append(database, 300, "a").await;
        let (mut seen, mut cursor) = (Vec::new(), Cursor::Newest);
        loop {
            let (ids, more) = page(database, cursor, 37, &[]).await;
            seen.extend_from_slice(&ids);
            append(database, 5, "a").await;
            if !more {
                break;
            }
            assert_eq!(ids.len(), 37);
            cursor = Cursor::Before(ids[36].to_string());
        }
        there.reverse();
        assert_eq!(seen, there, "what was there at the start, newest first");

        // Forward from the middle: everything newer, and what comes in meanwhile at the end.
        let (mut seen, mut last, mut rounds) = (Vec::new(), there[149], 0);
        let mut newer: Vec<EventId> = there[..149].iter().rev().copied().collect();
        newer.extend(database.db.query("select * from events where id > $1 order by id").bind(there[0]).all::<Event>().await.expect("rows").iter().map(|event| event.id));
        loop {
            let (mut ids, more) = page(database, Cursor::After(last.to_string()), 37, &[]).await;
            assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "newest first");
            ids.reverse();
            seen.extend_from_slice(&ids);
            if rounds < 3 {
                newer.extend(append(database, 5, "a").await);
            }
            rounds += 1;
            if !more {
                break;
            }
            last = *ids.last().expect("rows");
        }
        assert_eq!(seen, newer);
    }

    async fn filters_and_limits_are_exact(database: &TestDatabase) {
        let first = append(database, 10, "a").await;
        let second = append(database, 10, "b").await;
        let newest = |ids: &[EventId]| ids.iter().rev().copied().collect::<Vec<_>>();
        assert_eq!(page(database, Cursor::Newest, 20, &[]).await, ([newest(&second), newest(&first)].concat(), false));
        assert!(page(database, Cursor::Newest, 19, &[]).await.1);
        assert_eq!(page(database, Cursor::Newest, 10, &[("type", "a")]).await, (newest(&first), false));
        assert_eq!(page(database, Cursor::Newest, 10, &[("type", "a"), ("subject", "y")]).await, (vec![], false));
        assert_eq!(page(database, Cursor::Before(second[0].to_string()), 10, &[("type", "b")]).await, (vec![], false));
        assert_eq!(page(database, Cursor::Before(second[3].to_string()), 2, &[("type", "b")]).await, (vec![second[2], second[1]], true));
        assert_eq!(page(database, Cursor::After(first[7].to_string()), 2, &[("type", "a"), ("subject", "x")]).await, (vec![first[9], first[8]], false));
        assert_eq!(page(database, Cursor::Newest, 10, &[("type", "' or true --")]).await, (vec![], false));
        assert_eq!(page(database, Cursor::Newest, 10, &[("type", samples::HARD)]).await, (vec![], false));
    }

    async fn the_earliest_comes_first_on_its_timeline(database: &TestDatabase) {
        let (ada, test) = (samples::customer(), Timeline::Test(samples::id()));
        let of = |timeline, due: &[i64]| due.iter().map(|at| Subscription { timeline, due_at: Some(samples::minute(*at)), ..samples::subscription(ada.id) }).collect::<Vec<_>>();
        let owed = |timeline, due: &[i64]| due.iter().map(|at| Invoice { timeline, next_attempt_at: Some(samples::minute(*at)), ..samples::invoice(ada.id) }).collect::<Vec<_>>();
        let (wall, other) = (of(Timeline::Wall, &[3, -2, 0, 7]), of(test, &[-9]));
        let (owed_wall, owed_other) = (owed(Timeline::Wall, &[3, -2, 0, 7]), owed(test, &[-9]));
        for timeline in [Timeline::Wall, test] {
            assert_eq!(store::next_due::bill(&database.db, timeline).await.expect("read"), None);
            assert_eq!(store::invoices::earliest_attempt(&database.db, timeline).await.expect("read"), None);
        }
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::subscriptions::insert(tx, &wall).await?;
            store::subscriptions::insert(tx, &other).await?;
            store::subscriptions::insert(tx, &[samples::subscription(ada.id)]).await?;
            store::invoices::insert(tx, &owed_wall).await?;
            store::invoices::insert(tx, &owed_other).await?;
            store::invoices::insert(tx, &[samples::invoice(ada.id)]).await
        }).await;
        for (timeline, earliest) in [(Timeline::Wall, Some(samples::minute(-2))), (test, Some(samples::minute(-9))), (Timeline::Test(samples::id()), None)] {
            assert_eq!(store::next_due::bill(&database.db, timeline).await.expect("read"), earliest);
            assert_eq!(store::invoices::earliest_attempt(&database.db, timeline).await.expect("read"), earliest);
        }
        let due = database.write(async |tx: &mut Tx| store::subscriptions::due(tx, Timeline::Wall, samples::minute(3), 10).await).await;
        assert_eq!(due, [&wall[1], &wall[2], &wall[0]].map(Clone::clone));
        let due = database.write(async |tx: &mut Tx| store::subscriptions::due(tx, Timeline::Wall, samples::minute(3), 1).await).await;
        assert_eq!(due, [wall[1].clone()]);
        let due = database.write(async |tx: &mut Tx| store::invoices::due(tx, Timeline::Wall, samples::minute(3), 10).await).await;
        assert_eq!(due, [&owed_wall[1], &owed_wall[2], &owed_wall[0]].map(Clone::clone));
        assert!(database.write(async |tx: &mut Tx| store::invoices::due(tx, Timeline::Wall, samples::minute(-3), 10).await).await.is_empty());
    }
}
