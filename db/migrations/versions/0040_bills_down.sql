ALTER TABLE invoices
    DROP COLUMN subtotal, DROP COLUMN discount, DROP COLUMN tax, DROP COLUMN total, DROP COLUMN balance_used,
    DROP COLUMN amount_remaining, DROP COLUMN lines, DROP COLUMN credit_notes, DROP COLUMN payment_url;
