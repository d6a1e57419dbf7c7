-- Networks in CIDR notation. What is typed into psql is held to the form, too: a key with a network that cannot be read
-- would be a key that no validator can judge.
CREATE FUNCTION np_are_networks(networks jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_array_length(networks) <= 16
        AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(networks) AS network
            -- The type takes "203.0.113/24", too, which nobody else reads.
            WHERE network::cidr IS NULL OR network !~ '(:|^([0-9]+\.){3}[0-9]+(/|$))')
$$;

ALTER TABLE api_keys ADD COLUMN networks JSONB NOT NULL DEFAULT '[]';
-- The scan takes a second for a hundred thousand keys.
ALTER TABLE api_keys ADD CONSTRAINT ck_api_keys_networks CHECK (np_are_networks(networks));
