//! `/v1/add-ons`: what raises a charge.

super::catalog::entry_endpoints!(AddOn, "add-ons", "/v1/add-ons", "/v1/add-ons/{id}");
