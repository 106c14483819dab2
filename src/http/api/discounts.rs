//! `/v1/discounts`: what lowers a charge.

super::catalog::entry_endpoints!(Discount, "discounts", "/v1/discounts", "/v1/discounts/{id}");
