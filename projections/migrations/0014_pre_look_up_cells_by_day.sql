-- Days and months of which a sum wants the cells are few and lie together; the desa of a region, too.
-- With the day ahead of the desa a regency's month is some twenty ranges of the index and not two
-- searches for each of its desa, and what a fold adds lies where the last chunk's lay. PostgreSQL 18
-- skips from day to day. Years stay by desa: a sum wants all of them. Empties nothing.

ALTER TABLE coverage_cell DROP CONSTRAINT coverage_cell_pkey,
    ADD CONSTRAINT coverage_cell_pkey
        PRIMARY KEY (occurred_on, desa, known_on, cause, producer, mode, route) INCLUDE (people);
ALTER TABLE coverage_month DROP CONSTRAINT coverage_month_pkey,
    ADD CONSTRAINT coverage_month_pkey
        PRIMARY KEY (occurred_month, desa, known_month) INCLUDE (people);
