-- What a gateway took of a reservation that nobody wants any more, minor units: no invoice knows of it.
alter table authorizations add column amount_taken integer check (amount_taken > 0);
create index authorizations_taken on authorizations (called_at) where amount_taken is not null;
