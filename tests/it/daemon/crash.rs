//! `kill -9` in the middle of an advance: the next start frees its own claims, goes on by itself and arrives. The storm of kills
//! is elsewhere.

use super::*;
use crate::world::*;

on_both! {
    async fn an_advance_goes_on_after_a_kill(world: World) {
        for index in 0..6 {
            let customer = world.customer("UTC").await;
            let paylike = index % 2 == 0;
            let token = if paylike { world.prior() } else { world.token() };
            world.method(customer, paylike, &token).await;
            world.add(world.monthly(customer, "2026-01-31").await).await;
        }
        let folder = folder();
        let settings = with_gateways(&world.url, &world.sandbox.url());
        let daemon = Daemon::up(folder.path(), &settings).await;
        let path = format!("/v1/clocks/{}", world.clock);
        daemon.post(&format!("{path}/advance"), json!({"to": "2027-01-01T00:00:00Z"})).await;
        while world.sandbox.ledger().len() < 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Dropped, thus killed.
        drop(daemon);
        let taken = world.sandbox.ledger().len();
        assert!(taken < 72, "killed too late to prove anything");
        let mut daemon = Daemon::up(folder.path(), &settings).await;
        let begun = Instant::now();
        while daemon.get(&path).await["status"] != "idle" {
            assert!(begun.elapsed() < PATIENCE, "it does not arrive:\n{}", daemon.running.err());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not only when the lease has ended");
        assert_eq!(daemon.get(&path).await["now"], "2027-01-01T00:00:00Z");
        assert!(world.events(None).await.iter().any(|event| event == "claims.recovered"), "its own claims are freed at the start");
        daemon.stops().await;
        assert_eq!(world.prove().await, 72, "six customers, twelve months, each once");
    }
}
