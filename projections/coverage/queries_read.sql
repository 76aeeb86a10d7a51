-- Coverage as of a day, as known at a day. Desa codes have one shape, so BETWEEN is *in the region*
-- under every collation, and a range of an index. Whole years and months come from tables of their
-- own; what a month is begun of comes from the days'. `infinity` is *date unknown*.
--
-- `occurred_on + 0` is how the indexes of what was known late are written, so that they are taken for
-- these parts. Months known late are listed one by one: for a range of one or two PostgreSQL finds the
-- primary key cheaper, and looks into every month there is (1,600 buffers instead of 20).

-- name: sum_people
-- People by desa, which lies between $1 and $2: recorded before $8, and on an unknown date. As known
-- at $5, whose year begins on $3 and whose month on $4; $9 are the months from $3 on before $4. $7 is
-- the first of a month up to $4, and $6 the first of a year up to $3. What happened before $6 is added
-- by years; the months between $6 and $7, and the days between $7 and $8, are added or, where the
-- former lies behind the latter, taken away again: so that never more than half a year's months and
-- half a month's days are read.
SELECT desa AS code, coalesce(sum(people) FILTER (WHERE NOT is_undated), 0)::bigint AS recorded,
    coalesce(sum(people) FILTER (WHERE is_undated), 0)::bigint AS undated
FROM (
    SELECT desa, people, false AS is_undated FROM coverage_year
    WHERE desa BETWEEN $1 AND $2 AND occurred_year < $6 AND known_year < $3
    UNION ALL
    SELECT desa, people, false FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND known_month = ANY($9::date[])
        AND occurred_month + 0 < $6 AND occurred_month < known_month
    UNION ALL
    SELECT desa, CASE WHEN $6 <= $7 THEN people ELSE -people END, false FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND known_month < $4
        AND occurred_month >= least($6, $7) AND occurred_month < greatest($6, $7)
    UNION ALL
    SELECT desa, people, false FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on BETWEEN $4 AND $5
        AND occurred_on + 0 < $7 AND occurred_on < known_on
    UNION ALL
    SELECT desa, CASE WHEN $7 <= $8 THEN people ELSE -people END, false FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on <= $5
        AND occurred_on >= least($7, $8) AND occurred_on < greatest($7, $8)
    UNION ALL
    SELECT desa, people, true FROM coverage_year
    WHERE desa BETWEEN $1 AND $2 AND occurred_year = 'infinity' AND known_year < $3
    UNION ALL
    SELECT desa, people, true FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND occurred_month = 'infinity' AND known_month >= $3
        AND known_month < $4
    UNION ALL
    SELECT desa, people, true FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on = 'infinity' AND known_on BETWEEN $4 AND $5
) AS known
GROUP BY desa;

-- name: sum_points
-- People by point, that is the first of the days before $10 on which they are recorded; the number of
-- points is *date unknown*. By the first $11 characters of the desa, which lies between $1 and $2. As
-- known at $5, with $3, $4 and $9 as above, and recorded on $8 or before. What happened before $6 is
-- told apart by years only, what happened before $7 by months only. Each part is summed before the
-- parts are put together: some hundred sums instead of some thousand rows.
SELECT code, width_bucket(day, $10::date[]) AS point, sum(people)::bigint AS people
FROM (
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_year AS day, sum(people) AS people
    FROM coverage_year
    WHERE desa BETWEEN $1 AND $2 AND occurred_year < $6 AND known_year < $3
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_month AS day, sum(people)
    FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND known_month = ANY($9::date[])
        AND occurred_month + 0 < $6 AND occurred_month < known_month
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_month AS day, sum(people)
    FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND occurred_month >= $6 AND occurred_month < $7
        AND known_month < $4
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_on AS day, sum(people)
    FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on BETWEEN $4 AND $5
        AND occurred_on + 0 < $7 AND occurred_on < known_on
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_on AS day, sum(people)
    FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on BETWEEN $7 AND $8 AND known_on <= $5
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_year AS day, sum(people)
    FROM coverage_year
    WHERE desa BETWEEN $1 AND $2 AND occurred_year = 'infinity' AND known_year < $3
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_month AS day, sum(people)
    FROM coverage_month
    WHERE desa BETWEEN $1 AND $2 AND occurred_month = 'infinity' AND known_month >= $3
        AND known_month < $4
    GROUP BY code, day
    UNION ALL
    SELECT CASE $11::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $11) END AS code,
        occurred_on AS day, sum(people)
    FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on = 'infinity' AND known_on BETWEEN $4 AND $5
    GROUP BY code, day
) AS known
GROUP BY code, point
HAVING sum(people) <> 0;

-- name: sum_duplicates
-- Of the people of sum_people, those who are shown as DUPLICATE_RECORD: known at $3, recorded on $4.
SELECT desa AS code,
    coalesce(sum(people) FILTER (WHERE occurred_on <= $4), 0)::bigint AS recorded,
    coalesce(sum(people) FILTER (WHERE occurred_on = 'infinity'), 0)::bigint AS undated
FROM coverage_duplicate
WHERE desa BETWEEN $1 AND $2 AND known_on <= $3 AND (occurred_on <= $4 OR occurred_on = 'infinity')
GROUP BY desa;

-- name: sum_duplicate_points
-- Of the people of sum_points, those who are shown as DUPLICATE_RECORD: known at $3, recorded up to
-- $4, by points before $5, by the first $6 characters of the desa.
SELECT code, width_bucket(day, $5::date[]) AS point, sum(people)::bigint AS people
FROM (
    SELECT CASE $6::int WHEN 0 THEN '' WHEN 13 THEN desa ELSE left(desa, $6) END AS code,
        occurred_on AS day, sum(people) AS people
    FROM coverage_duplicate
    WHERE desa BETWEEN $1 AND $2 AND known_on <= $3
        AND (occurred_on <= $4 OR occurred_on = 'infinity')
    GROUP BY code, day
) AS known
GROUP BY code, point
HAVING sum(people) <> 0;

-- name: sum_changes
-- What became known after $3 and up to $4 of people recorded up to $5, or on an unknown date, by
-- desa and by what made it known. In three parts, as above: known after its day, by then, undated.
SELECT desa, cause, producer, mode, route, is_undated, sum(people)::bigint AS people
FROM (
    SELECT desa, cause, producer, mode, route, false AS is_undated, people FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on > $3 AND known_on <= $4
        AND occurred_on + 0 <= $5 AND occurred_on < known_on
    UNION ALL
    SELECT desa, cause, producer, mode, route, false, people FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND occurred_on > $3 AND occurred_on <= $5
        AND known_on > $3 AND known_on <= $4 AND occurred_on >= known_on
    UNION ALL
    SELECT desa, cause, producer, mode, route, true, people FROM coverage_cell
    WHERE desa BETWEEN $1 AND $2 AND known_on > $3 AND known_on <= $4 AND occurred_on = 'infinity'
) AS changed
GROUP BY desa, cause, producer, mode, route, is_undated
HAVING sum(people) <> 0;
