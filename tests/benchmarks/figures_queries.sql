-- What a fold and the same fold in Java came to, cell by cell. The day of knowledge is left out: it
-- is the day of the append, and two topics may have been filled on two sides of midnight.

-- name: sum_fold
-- Our tables.
SELECT kind, place, detail, sum(people)::bigint FROM (
    SELECT 'coverage' AS kind, desa AS place,
        concat_ws(' ', occurred_on, cause, producer, mode, route) AS detail, people FROM coverage_cell
    UNION ALL SELECT 'duplicate', desa, occurred_on::text, people FROM coverage_duplicate
    UNION ALL SELECT 'month', desa, occurred_month::text, people FROM coverage_month
    UNION ALL SELECT 'year', desa, occurred_year::text, people FROM coverage_year
    UNION ALL SELECT 'verification', desa, status, people FROM verification_cell
    UNION ALL SELECT 'age', desa, concat_ws(' ', status, since_on), people FROM verification_age
    UNION ALL SELECT 'turn', desa, concat_ws(' ', turn, before_status, after_status), people
        FROM verification_turn
    UNION ALL SELECT 'case', case_id,
        concat_ws(' ', kind, state, outcome, desa, since_on, encode(token, 'hex')), people
        FROM duplicate_case
    UNION ALL SELECT 'device', producer, case_id, recordings FROM duplicate_device
    UNION ALL SELECT 'people', md5(string_agg(encode(key || nik, 'hex'), '' ORDER BY key)), '',
        count(*) FROM person
    UNION ALL SELECT 'events', 'ledger', '', sum(last - first + 1)::bigint FROM ledger_segment
        WHERE producer <> 'registrar'
) AS cell (kind, place, detail, people) GROUP BY kind, place, detail HAVING sum(people) <> 0;

-- name: sum_java
-- Its tables (java/Tables.java).
SELECT kind, place, detail, sum(people)::bigint FROM (
    SELECT 'coverage' AS kind, desa AS place,
        concat_ws(' ', occurred_on, cause, producer, mode, route) AS detail, people
        FROM java_coverage_cell
    UNION ALL SELECT 'duplicate', desa, occurred_on::text, people FROM java_coverage_duplicate
    UNION ALL SELECT 'month', desa, occurred_month::text, people FROM java_coverage_month
    UNION ALL SELECT 'year', desa, occurred_year::text, people FROM java_coverage_year
    UNION ALL SELECT 'verification', desa, status, people FROM java_verification_cell
    UNION ALL SELECT 'age', desa, concat_ws(' ', status, since_on), people
        FROM java_verification_age
    UNION ALL SELECT 'turn', desa, concat_ws(' ', turn, before_status, after_status), people
        FROM java_verification_turn
    UNION ALL SELECT 'case', case_id,
        concat_ws(' ', kind, state, outcome, desa, since_on, encode(token, 'hex')), people
        FROM java_duplicate_case
    UNION ALL SELECT 'device', producer, case_id, recordings FROM java_duplicate_device
    UNION ALL SELECT 'people', md5(string_agg(encode(key || nik, 'hex'), '' ORDER BY key)), '',
        count(*) FROM java_person
    UNION ALL SELECT 'events', 'ledger', '', sum(last - first + 1)::bigint FROM java_segment
) AS cell (kind, place, detail, people) GROUP BY kind, place, detail HAVING sum(people) <> 0;
