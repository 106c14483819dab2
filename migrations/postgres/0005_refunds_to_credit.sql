-- A refund goes back to the payment method, through the gateway, or becomes credit of the customer, which no gateway hears of.

alter table invoices add column amount_credited bigint not null default 0
    check (amount_credited >= 0 and amount_credited <= subtotal - amount_refunded);

-- What becomes credit need not have come by any payment.
alter table refunds alter column payment_id drop not null;
alter table refunds add column destination text not null default 'method' check (destination in ('method', 'credit'));
alter table refunds alter column destination drop default;
alter table refunds add constraint refunds_of_a_payment
    check ((destination = 'method') = (payment_id is not null));
alter table refunds add constraint refunds_to_credit_at_once
    check (destination = 'method' or status = 'succeeded');
