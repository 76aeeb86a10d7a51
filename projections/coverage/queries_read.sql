-- Coverage as of a day, as known at a day.

-- name: sum_coverage
-- People recorded by $4 as known at $3, and people whose date is unknown, by region: desa between
-- $1 and $2, codes of $5 characters. Desa codes have one shape, so BETWEEN is *in the region* under
-- every collation, and a range of the primary key.
SELECT
    left(desa, $5) AS region,
    coalesce(sum(people) FILTER (WHERE occurred_on <= $4), 0)::bigint AS recorded,
    coalesce(sum(people) FILTER (WHERE occurred_on = 'infinity'), 0)::bigint AS date_unknown
FROM coverage_cell
WHERE desa BETWEEN $1 AND $2
    AND known_on <= $3
    AND (occurred_on <= $4 OR occurred_on = 'infinity')
GROUP BY left(desa, $5)
ORDER BY region;
