-- What the centre says of the people recorded.

-- name: sum_verification
-- People by region and status: desa between $1 and $2, codes of $3 characters; the unplaced ($4)
-- belong to no region and are always there.
SELECT left(desa, $3) AS region, status, sum(people)::bigint AS people
FROM verification_cell
WHERE desa BETWEEN $1 AND $2 OR desa = $4
GROUP BY left(desa, $3), status
HAVING sum(people) <> 0
ORDER BY region, status;
