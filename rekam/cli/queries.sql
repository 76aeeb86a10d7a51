-- name: read_standing
-- Return how far each partition of a topic is folded, and how many people are recorded by now.
SELECT
    coalesce((SELECT jsonb_object_agg(partition, next_offset) FROM projection_position WHERE topic = $1), '{}')::text
        AS positions,
    (SELECT coalesce(sum(people), 0)::bigint FROM coverage_cell) AS recorded;

-- name: read_ledger_figures
-- Return what the ledger holds. An event counts once, however many segments carry its seq; a gap is a seq below
-- the greatest of its epoch that no segment carries.
SELECT
    count(*) AS segments,
    coalesce(sum(greatest(last - greatest(first - 1, reached), 0)), 0)::bigint AS events,
    coalesce(sum(greatest(first - 1 - reached, 0)), 0)::bigint AS gaps,
    (SELECT count(*) FROM ledger_copy) AS duplicates
FROM (
    SELECT
        first,
        last,
        coalesce(
            max(last) OVER (
                PARTITION BY producer, epoch ORDER BY first, last
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            0
        ) AS reached
    FROM ledger_segment
) AS walk;
