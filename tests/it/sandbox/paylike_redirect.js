// Sends the package's own suite to the sandbox: it builds its client without an address.
'use strict';

const { Service } = require('paylike');

Object.defineProperty(Service.prototype, 'url', {
	get: () => process.env.PAYLIKE_URL,
	set: () => {},
});
