-- What people hold in hand when they look something up: an e-mail address in any case, a transaction id of a letter from the bank.

create index customers_of_email on customers (lower(email), id);
create index payments_of_transaction on payments (transaction_id) where transaction_id is not null;
