//! HTTP statuses of refused requests as data: whose fault each is, where the gateway gives no code of its own.

use crate::domain::payment::DeclineClass::{self, *};

/// Key, merchant or address are wrong, or not allowed to do this: nothing else will go through either.
const ACCOUNT: &[u16] = &[401, 403];

/// This request is not what the gateway takes. The same request never will be.
const CHARGE: &[u16] = &[400, 402, 404, 405, 406, 410, 411, 413, 414, 415, 416, 417, 422, 431];

/// What a refused request means for the next attempt. A failure that came with status 200 is a refused request like any other. What
/// is not in the list passes, as far as one can know.
pub(super) fn class(status: u16) -> DeclineClass {
    match status {
        _ if ACCOUNT.contains(&status) => AccountRefused,
        _ if CHARGE.contains(&status) || (200..300).contains(&status) => ChargeRefused,
        _ => GatewayFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_status_is_put_down_to_the_customer() {
        for status in 200..600 {
            assert!(!class(status).is_customers(), "{status}");
        }
        assert_eq!([401, 403].map(class), [AccountRefused; 2]);
        assert_eq!([200, 400, 404, 422].map(class), [ChargeRefused; 4]);
        assert_eq!([408, 418, 423, 451, 500].map(class), [GatewayFault; 5]);
    }
}
