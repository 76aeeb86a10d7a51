-- Lists of people, by what became of them.

-- name: list_buckets
-- Entries of every list by bucket.
SELECT cohort, bucket, entries
FROM cohort_cell
ORDER BY cohort, bucket;
