-- Caps on declined attempts: what was charged, whoever and whatever it was for. Payments made before are not counted.

alter table payments add column credential text;
create index payments_declined_of_credential on payments (credential, created_at) where status = 'declined';
create index payments_open_of_credential on payments (credential) where status in ('pending', 'authorized', 'unknown', 'parked');

-- The issuer stopped recurring charges.
alter table payment_methods add column mandate_ended_at text;
