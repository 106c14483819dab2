-- Installments that others took over when a defaulted plan was restored, and those that were paid before the plan came here.

-- From which the dates of a recurrence are laid; null for a plan of explicit dates.
alter table installment_plans add column anchor_date text;
update installment_plans
set anchor_date = (
    select i.date from installments i
    where i.installment_plan_id = installment_plans.id and i.number >= 1 order by i.number limit 1)
where billing_frequency is not null;

alter table installments rename to installments_before;
create table installments (
    id text primary key,
    installment_plan_id text not null references installment_plans (id) on delete cascade,
    number integer not null check (number >= 0),
    date text not null,
    due_at text not null,
    amount integer not null check (amount > 0),
    status text not null check (status in ('scheduled', 'due', 'paid', 'paid_elsewhere', 'failed', 'moved', 'cancelled')),
    invoice_id text,
    unique (installment_plan_id, number),
    check (status not in ('due', 'paid', 'failed') or invoice_id is not null),
    check (status not in ('scheduled', 'paid_elsewhere') or invoice_id is null)
) strict;
insert into installments
select id, installment_plan_id, number, date, due_at, amount, status, invoice_id from installments_before;
drop table installments_before;
create index installments_scheduled on installments (installment_plan_id, due_at) where status = 'scheduled';
create index installments_of_invoice on installments (invoice_id) where invoice_id is not null;
