-- The three plans; a year costs ten months. NULL is unlimited. Ids are fixed so that every installation agrees on them.

INSERT INTO plans (id, name, license_type, description, price_monthly, price_yearly, currency, features, is_active,
                   max_accounts, max_domains, max_databases, max_emails, max_storage_gb) VALUES
    ('0198d2f0-0000-7000-8000-000000000001', 'Starter', 'starter', 'One account for a first site.',
     2900, 29000, 'usd', '{"support": "email", "backups": true}', true, 1, 3, 5, 10, 10),
    ('0198d2f0-0000-7000-8000-000000000002', 'Professional', 'professional', 'For agencies and growing teams.',
     9900, 99000, 'usd', '{"support": "priority", "backups": true, "staging": true}', true, 5, 25, 50, 100, 100),
    ('0198d2f0-0000-7000-8000-000000000003', 'Enterprise', 'enterprise', 'No limits, and somebody on the phone.',
     29900, 299000, 'usd', '{"support": "phone", "backups": true, "staging": true, "white_label": true}', true,
     NULL, NULL, NULL, NULL, 1024);
