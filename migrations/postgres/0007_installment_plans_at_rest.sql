-- Installment plans that wait for an operator: defaulted, or with nothing to come and not paid.
create index installment_plans_defaulted on installment_plans (id) where status = 'defaulted';
create index installment_plans_stalled on installment_plans (id) where status = 'open' and due_at is null;
