//! The operator's hands, in short.

use chrono::NaiveDate;
use rebilld::{
    billing::{
        App, BillingError,
        installment_plans::{
            Overview,
            operate::{Operation, operate},
        },
    },
    domain::{event::Actor, installment_plan::change::Spread},
};

type Done = Result<Overview, BillingError>;

pub async fn change(
    app: &App,
    actor: &Actor,
    key: &str,
    number: i64,
    date: Option<NaiveDate>,
    amount: Option<i64>,
    spread: Option<Spread>,
) -> Done {
    operate(app, actor, key, &Operation::Change { number, date, amount, spread }).await
}

pub async fn split(app: &App, actor: &Actor, key: &str, number: i64, parts: &[(NaiveDate, i64)]) -> Done {
    operate(app, actor, key, &Operation::Split { number, parts: parts.to_vec() }).await
}

pub async fn pay(app: &App, actor: &Actor, key: &str, number: i64) -> Done {
    operate(app, actor, key, &Operation::Pay { number }).await
}

pub async fn pay_off(app: &App, actor: &Actor, key: &str) -> Done {
    operate(app, actor, key, &Operation::PayOff).await
}

pub async fn cancel(app: &App, actor: &Actor, key: &str) -> Done {
    operate(app, actor, key, &Operation::Cancel).await
}
