ALTER TABLE api_keys DROP COLUMN networks;
DROP FUNCTION np_are_networks;
