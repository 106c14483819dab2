-- Installments that others took over when a defaulted plan was restored, and those that were paid before the plan came here.

-- From which the dates of a recurrence are laid; null for a plan of explicit dates.
alter table installment_plans add column anchor_date date;
update installment_plans
set anchor_date = (
    select i.date from installments i
    where i.installment_plan_id = installment_plans.id and i.number >= 1 order by i.number limit 1)
where billing_frequency is not null;

alter table installments drop constraint installments_status_check, drop constraint installments_check, drop constraint installments_check1;
alter table installments add constraint installments_status_check
    check (status in ('scheduled', 'due', 'paid', 'paid_elsewhere', 'failed', 'moved', 'cancelled'));
alter table installments add constraint installments_invoiced
    check (status not in ('due', 'paid', 'failed') or invoice_id is not null);
alter table installments add constraint installments_not_invoiced
    check (status not in ('scheduled', 'paid_elsewhere') or invoice_id is null);
