-- Which ranges of each epoch arrived, and what is wrong with them.

-- name: list_epochs
-- Received ranges, highest seq and fork marks by epoch of the producers $1.
SELECT
    producer, epoch,
    range_agg(int8range(first, last, '[]')) AS received,
    max(last) AS last,
    bool_or(lost <> '{}') AS is_forked
FROM ledger_segment
WHERE producer = ANY ($1::text[])
GROUP BY producer, epoch
ORDER BY producer, epoch;

-- name: list_forks
-- Segments of a producer ($1) of which some seqs count from another segment.
SELECT epoch, lost
FROM ledger_segment
WHERE producer = $1 AND lost <> '{}'
ORDER BY epoch, first, hash;

-- name: list_chain_breaks
-- Segments of a producer ($1) that stand behind one that arrived and do not name its hash.
SELECT epoch, first
FROM ledger_segment AS segment
WHERE producer = $1
    AND EXISTS (
        SELECT FROM ledger_segment AS before
        WHERE before.producer = $1
            AND before.epoch = segment.epoch
            AND before.last = segment.first - 1
    )
    AND NOT EXISTS (
        SELECT FROM ledger_segment AS before
        WHERE before.producer = $1
            AND before.epoch = segment.epoch
            AND before.last = segment.first - 1
            AND before.hash = segment.prev
    )
ORDER BY epoch, first;

-- name: list_openings
-- What the first segments of a producer's ($1) epochs continue.
SELECT epoch, prev
FROM ledger_segment
WHERE producer = $1 AND first = 1
ORDER BY epoch, hash;

-- name: list_heads
-- The segment with the highest seq of each epoch of a producer ($1); of several, the one that counts.
SELECT DISTINCT ON (epoch) epoch, hash
FROM ledger_segment
WHERE producer = $1
ORDER BY epoch, last DESC, append_ms, hash;

-- name: count_copies
-- Further copies of admitted segments by epoch of a producer ($1).
SELECT epoch, count(*) AS copies
FROM ledger_copy
WHERE producer = $1
GROUP BY epoch;
