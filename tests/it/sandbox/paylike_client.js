// Drives the unmodified npm package `paylike` against the sandbox at PAYLIKE_URL; exits 1 on the first surprise.
'use strict';

const assert = require('assert');
const Paylike = require('paylike');

const merchant = '55006bdfe0308c4cbfdbd0e1';
const prior = '560fd96b7973ff3d2362a78c';
const client = (key) => new Paylike(key, { url: process.env.PAYLIKE_URL });
const paylike = client('4ff7de37-dddf-4e51-8cc9-48b61a102923');

const settled = (promise) => new Promise((resolve, reject) => promise.then(resolve, reject));
const fails = (promise) => settled(promise).then(() => assert.fail('must be refused'), (error) => error);
const charge = (fields) => settled(paylike.merchants.transactions.create(merchant, Object.assign(
	{ transactionId: prior, currency: 'EUR', amount: 300, custom: { reference: 'node' } }, fields)));
const find = (id) => settled(paylike.transactions.findOne(id));
const list = (cursor) => settled(cursor.toArray());

async function main() {
	const id = await charge({});
	assert.strictEqual((await find(id)).pendingAmount, 300);
	await settled(paylike.transactions.capture(id, { amount: 100, currency: 'EUR' }));
	await settled(paylike.transactions.capture(id, { amount: 200 }));
	await settled(paylike.transactions.refund(id, { amount: 120 }));
	const found = await find(id);
	assert.deepStrictEqual([found.capturedAmount, found.refundedAmount, found.pendingAmount], [300, 120, 0]);
	assert.deepStrictEqual(found.trail.map((step) => step.amount), [100, 200, 120]);

	const voided = await charge({ amount: 50 });
	await settled(paylike.transactions.void(voided, { amount: 50 }));
	assert.strictEqual((await find(voided)).voidedAmount, 50);

	// Lists: newest first, paged by the client in batches, an empty one, and from an id on.
	const newest = await list(paylike.merchants.transactions.find(merchant).limit(2));
	assert.deepStrictEqual(newest.map((one) => one.id), [voided, id]);
	const batches = await list(new Paylike.Cursor(paylike.service, `/merchants/${merchant}/transactions`, 3).limit(10));
	assert.strictEqual(new Set(batches.map((one) => one.id)).size, 10);
	assert.deepStrictEqual((await list(paylike.merchants.transactions.find(merchant).after(id))).map((one) => one.id), [voided]);
	assert.deepStrictEqual(await list(paylike.merchants.users.find(merchant).limit(5)), []);

	// Errors come as their types.
	const fields = await fails(charge({ amount: -1 }));
	assert(fields instanceof Paylike.ValidationError && Array.isArray(fields.data));
	const declined = await fails(charge({ transactionId: '560fd96b7973ff3d23620007' }));
	assert(declined instanceof Paylike.ValidationError && declined.data.code === 7);
	assert(await fails(paylike.transactions.capture(id, { amount: 300 })) instanceof Paylike.ConflictError);
	assert(await fails(find('560fd96b7973ff3d2362ffff')) instanceof Paylike.NotFoundError);
	assert(await fails(client('wrong').merchants.findOne(merchant)) instanceof Paylike.AuthorizationError);
	const stranger = client((await settled(paylike.apps.create({ name: 'stranger' }))).key);
	assert(await fails(stranger.merchants.findOne(merchant)) instanceof Paylike.PermissionsError);
	console.log('all good');
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});
