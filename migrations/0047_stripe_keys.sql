-- The setting `stripe` has no effect, so no key of it is kept: an older version stored it as it was given.
UPDATE gateways SET settings = json_set(settings, '$.stripe.authorization', '***')
WHERE json_type(settings, '$.stripe.authorization') = 'text';
