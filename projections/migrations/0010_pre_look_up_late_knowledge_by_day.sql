-- What was known later than its day is asked for by a few days of knowledge and many desa, so the
-- day leads: some thirty searches of an index in place of two for each desa. The counts lie in the
-- index, and so does what happened (`+ 0` cannot be read back): no row is visited. Empties nothing.

DROP INDEX coverage_cell_late_idx, coverage_month_late_idx;
CREATE INDEX coverage_cell_late_idx ON coverage_cell (known_on, desa, (occurred_on + 0))
    INCLUDE (occurred_on, people) WHERE occurred_on < known_on;
CREATE INDEX coverage_month_late_idx ON coverage_month (known_month, desa, (occurred_month + 0))
    INCLUDE (occurred_month, people) WHERE occurred_month < known_month;
