//! Constants of what exists from the start: keys, ids, amounts that are declined. `/_sandbox/fixtures` shows them.

use std::ops::RangeInclusive;

pub const FLUIDPAY_KEY: &str = "api_sandboxkey0000000000000";
pub const FLUIDPAY_MERCHANT: &str = "aucio551tlv85l7moe5g";
pub const FLUIDPAY_TERMINAL: &str = "1ucio551tlv85l7moe5s";
pub const APPROVED_CARD: &str = "4111111111111111";

/// The fixed key and ids that the node client's own test suite uses.
pub const PAYLIKE_KEY: &str = "4ff7de37-dddf-4e51-8cc9-48b61a102923";
pub const PAYLIKE_APP: &str = "555eca95ed59804d2cf12b11";
pub const PAYLIKE_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e1";
pub const PAYLIKE_OTHER_MERCHANT: &str = "55006bdfe0308c4cbfdbd0e2";
pub const PAYLIKE_TRANSACTION: &str = "560fd96b7973ff3d2362a78c";

pub const PAYSLEY_KEY: &str = "py_test_sandboxkey000000000";

const FLUIDPAY_MAGIC: i64 = 2_000_000;
const PAYLIKE_MAGIC: i64 = 3_000_000;

/// FluidPay declines these amounts, 20,002.00 to 20,004.99, with their last three digits.
pub const FLUIDPAY_DECLINED: RangeInclusive<i64> = FLUIDPAY_MAGIC + 200..=FLUIDPAY_MAGIC + 499;
/// Paylike declines these amounts with their last two digits.
pub const PAYLIKE_DECLINED: RangeInclusive<i64> = PAYLIKE_MAGIC + 1..=PAYLIKE_MAGIC + 31;

/// The code that a FluidPay amount is declined with, if it is one of those.
pub fn fluidpay_magic(amount: i64) -> Option<u16> {
    let declined = Some(amount).filter(|amount| FLUIDPAY_DECLINED.contains(amount))?;
    u16::try_from(declined - FLUIDPAY_MAGIC).ok()
}

/// The code that a Paylike amount is declined with, if it is one of those.
pub fn paylike_magic(amount: i64) -> Option<u16> {
    let declined = Some(amount).filter(|amount| PAYLIKE_DECLINED.contains(amount))?;
    u16::try_from(declined - PAYLIKE_MAGIC).ok()
}

/// The earlier transaction whose card is declined with this code: its last four digits are the code.
pub fn paylike_prior(code: u16) -> String {
    format!("560fd96b7973ff3d2362{code:04}")
}
