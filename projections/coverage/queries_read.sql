-- Coverage as of a day, as known at a day. Desa codes have one shape, so BETWEEN is *in the region*
-- under every collation, and a range of an index. Whole years and months come from tables of their
-- own; what a month is begun of comes from the days'. `infinity` is *date unknown*.

-- name: sum_people
-- People by code (the first $10 characters of their desa, which lies between $1 and $2) and by point:
-- the first of the days before $9 on which they are recorded; the number of points is *date unknown*.
-- As known at $5, whose year begins on $3 and whose month on $4. Recorded up to $8; what happened
-- before $6, the first of a year, may be told apart by years only; before $7, of a month, by months.
-- NOT (… AND …) is a filter on one scan, where `<` OR `=` would be two of them.
SELECT left(desa, $10) AS code, width_bucket(day, $9::date[]) AS point,
    sum(people)::bigint AS people
FROM (
    SELECT desa, occurred_year AS day, people FROM coverage_year
    WHERE desa BETWEEN $1 AND $2 AND known_year < $3
        AND NOT (occurred_year >= $6 AND occurred_year < 'infinity')
    UNION ALL
    SELECT desa, occurred_month, people FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND known_month >= $3 AND known_month < $4
        AND NOT (occurred_month >= $6 AND occurred_month < 'infinity')
    UNION ALL
    SELECT desa, occurred_month, people FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND occurred_month >= $6 AND occurred_month < $7
        AND known_month < $4
    UNION ALL
    SELECT desa, occurred_on, people FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on BETWEEN $4 AND $5
        AND NOT (occurred_on >= $7 AND occurred_on < 'infinity')
    UNION ALL
    SELECT desa, occurred_on, people FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on BETWEEN $7 AND $8 AND known_on <= $5
) AS known
GROUP BY code, point
HAVING sum(people) <> 0;

-- name: sum_duplicates
-- Of them, those who are shown as DUPLICATE_RECORD; the same parameters, $3 and $5 aside.
SELECT left(desa, $6) AS code, width_bucket(occurred_on, $5::date[]) AS point,
    sum(people)::bigint AS people
FROM coverage_duplicate
WHERE desa BETWEEN $1 AND $2 AND known_on <= $3 AND (occurred_on <= $4 OR occurred_on = 'infinity')
GROUP BY code, point
HAVING sum(people) <> 0;

-- name: sum_changes
-- What became known after $3 and up to $4 of people recorded up to $5, or on an unknown date, by
-- desa and by what made it known.
SELECT desa, cause, producer, mode, occurred_on = 'infinity' AS is_undated,
    sum(people)::bigint AS people
FROM coverage_cell
WHERE desa BETWEEN $1 AND $2 AND known_on > $3 AND known_on <= $4
    AND (occurred_on <= $5 OR occurred_on = 'infinity')
GROUP BY desa, cause, producer, mode, is_undated
HAVING sum(people) <> 0;
