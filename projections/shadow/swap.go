package shadow

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// shapeSQL is what must be equal of a table and its successor: columns, checks and
// indexes, without the names that can only be given once.
const shapeSQL = `
WITH c AS (SELECT * FROM pg_class WHERE oid = to_regclass(quote_ident($1)))
SELECT string_agg(line, E'\n' ORDER BY line) FROM (
    SELECT format('column %s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attgenerated, pg_get_expr(adbin, adrelid)) AS line
    FROM c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
    UNION ALL SELECT format('check %s %s', conname, pg_get_constraintdef(k.oid)) FROM c JOIN pg_constraint k ON conrelid = c.oid AND contype IN ('c', 'f')
    UNION ALL SELECT format('index %s%s', indisunique, substring(pg_get_indexdef(indexrelid) FROM ' USING .*')) FROM c JOIN pg_index ON indrelid = c.oid AND indisvalid
    UNION ALL SELECT format('option %s', o) FROM c, unnest(reloptions) o
) s`

// ErrShape says that two tables are not alike.
var ErrShape = errors.New("the tables are not alike")

// Alike says whether another table could take the place of the live one.
func (t Table) Alike(ctx context.Context, tx pgx.Tx, other string) error {
	var shapes [2]*string
	for i, name := range []string{t.Live, other} {
		if err := tx.QueryRow(ctx, shapeSQL, name).Scan(&shapes[i]); err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
		if shapes[i] == nil {
			return fmt.Errorf("table %s does not exist: %w", name, ErrShape)
		}
	}
	if *shapes[0] != *shapes[1] {
		return fmt.Errorf("%s and %s: %w, somebody has altered one meanwhile", t.Live, other, ErrShape)
	}
	return nil
}

// named are the names that all carriers have, see there.
const named = `
WITH n AS (SELECT to_regclass(quote_ident($1)) AS l, to_regclass(quote_ident($2)) AS s, $1::text AS live, $2::text AS shadow, $3::text AS old, $4::text AS suffix)
`

// grantee is who has a right, for a statement.
const grantee = `CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END`

// A carrier makes the statements that carry something over. All look at the two
// tables before they are renamed.
type carrier struct {
	what string
	late bool   // the statements run once the shadow has the name of the live table
	sql  string // of the columns of named
}

var carriers = []carrier{
	{"owner", false, `SELECT format('ALTER TABLE %I OWNER TO %I', shadow, pg_get_userbyid(c.relowner))
FROM n JOIN pg_class c ON c.oid = l JOIN pg_class d ON d.oid = s WHERE c.relowner <> d.relowner`},
	{"default grants", false, `SELECT format('REVOKE ALL ON %I FROM %s', shadow, ` + grantee + `)
FROM n JOIN pg_class c ON c.oid = s, aclexplode(relacl) WHERE grantee <> relowner`},
	{"grants", false, `SELECT format('GRANT %s ON %I TO %s%s', privilege_type, shadow, ` + grantee + `, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM n JOIN pg_class c ON c.oid = l, aclexplode(relacl) WHERE grantee <> relowner`},
	{"grants on columns", false, `SELECT format('GRANT %s (%I) ON %I TO %s%s', privilege_type, attname, shadow, ` + grantee + `, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM n JOIN pg_attribute ON attrelid = l AND attnum > 0 AND NOT attisdropped, aclexplode(attacl)`},
	{"comment", false, `SELECT format('COMMENT ON TABLE %I IS %L', shadow, obj_description(l, 'pg_class')) FROM n`},
	{"sequences", false, `SELECT format('ALTER SEQUENCE %s OWNED BY %I.%I', d.objid::regclass, shadow, attname)
FROM n JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = l AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S' JOIN pg_attribute ON attrelid = l AND attnum = d.refobjsubid`},
	{"replica identity", false, `SELECT format('ALTER TABLE %I REPLICA IDENTITY %s', shadow, CASE relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)
FROM n JOIN pg_class ON oid = l WHERE relreplident IN ('f', 'n')`},

	{"names of indexes", true, `SELECT unnest(ARRAY[format('ALTER INDEX %I RENAME TO %I', a.name, left(a.name, 63 - length(suffix)) || suffix), format('ALTER INDEX %I RENAME TO %I', b.name, a.name)])
FROM n, LATERAL (` + indexes("l") + `) a JOIN LATERAL (` + indexes("s") + `) b ON (a.def, a.nth) = (b.def, b.nth)`},
	{"names of statistics", true, `SELECT unnest(ARRAY[format('ALTER STATISTICS %I RENAME TO %I', a.name, left(a.name, 63 - length(suffix)) || suffix), format('ALTER STATISTICS %I RENAME TO %I', b.name, a.name)])
FROM n, LATERAL (` + statistics("l") + `) a JOIN LATERAL (` + statistics("s") + `) b ON (a.def, a.nth) = (b.def, b.nth)`},
	{"replica identity by an index", true, `SELECT format('ALTER TABLE %I REPLICA IDENTITY USING INDEX %s', live, indexrelid::regclass) FROM n JOIN pg_index ON indrelid = l AND indisreplident`},
	{"clustering", true, `SELECT format('ALTER TABLE %I CLUSTER ON %s', live, indexrelid::regclass) FROM n JOIN pg_index ON indrelid = l AND indisclustered`},
	{"comments on indexes", true, `SELECT format('COMMENT ON INDEX %s IS %L', indexrelid::regclass, obj_description(indexrelid, 'pg_class'))
FROM n JOIN pg_index ON indrelid = l WHERE obj_description(indexrelid, 'pg_class') IS NOT NULL`},
	{"triggers", true, `SELECT unnest(ARRAY[pg_get_triggerdef(t.oid), CASE tgenabled WHEN 'D' THEN format('ALTER TABLE %I DISABLE TRIGGER %I', live, tgname)
    WHEN 'A' THEN format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', live, tgname) WHEN 'R' THEN format('ALTER TABLE %I ENABLE REPLICA TRIGGER %I', live, tgname) END])
FROM n JOIN pg_trigger t ON tgrelid = l AND NOT tgisinternal WHERE tgfoid <> 'beat_note_keys'::regproc`},
	{"views", true, `SELECT DISTINCT format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::regclass, ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid))
FROM n JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = l AND d.classid = 'pg_rewrite'::regclass
JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'`},
	{"foreign keys of others", true, `SELECT unnest(ARRAY[format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', conrelid::regclass, conname, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''))])
FROM n JOIN pg_constraint k ON confrelid = l AND contype = 'f' AND conrelid <> l`},
	{"publications", true, `SELECT unnest(ARRAY[format('ALTER PUBLICATION %I ADD TABLE %I', pubname, live), format('ALTER PUBLICATION %I DROP TABLE %I', pubname, old)])
FROM n JOIN pg_publication_rel ON prrelid = l JOIN pg_publication p ON p.oid = prpubid`},
}

// indexes are those of table t of named, by what they are and, of equal ones,
// which.
func indexes(t string) string {
	return `SELECT relname::text AS name, def, row_number() OVER (PARTITION BY def ORDER BY relname) AS nth
FROM pg_index x JOIN pg_class ON oid = indexrelid, LATERAL (SELECT indisunique || substring(pg_get_indexdef(indexrelid) FROM ' USING .*') AS def) d WHERE indrelid = ` + t
}

func statistics(t string) string {
	return `SELECT stxname::text AS name, def, row_number() OVER (PARTITION BY def ORDER BY stxname) AS nth
FROM pg_statistic_ext e, LATERAL (SELECT stxkind::text || pg_get_statisticsobjdef_columns(e.oid) AS def) d WHERE stxrelid = ` + t
}

// lateSQL is the statements that check what Swap has taken over unchecked.
const lateSQL = `
SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
WHERE confrelid = to_regclass(quote_ident($1)) AND contype = 'f' AND NOT convalidated`

// Swap puts the table called shadow in the place of the live one, which is called
// old from then on, and notes in table Since what is changed from now on. The
// caller holds an exclusive lock on the live table. Validate is to follow.
func (t Table) Swap(ctx context.Context, tx pgx.Tx, shadow, old string) error {
	if err := t.Alike(ctx, tx, shadow); err != nil {
		return err
	}
	for _, to := range []string{t.Changed(), t.Since()} {
		if err := t.forget(ctx, tx, to); err != nil {
			return err
		}
	}
	var first, then []string
	for _, c := range carriers {
		all, err := texts(ctx, tx, named+"SELECT x FROM ("+c.sql+") x(x) WHERE x IS NOT NULL", t.Live, shadow, old, old[len(t.Live):])
		if err != nil {
			return fmt.Errorf("%s of %s: %w", c.what, t.Live, err)
		}
		if c.late {
			then = append(then, all...)
		} else {
			first = append(first, all...)
		}
	}
	first = append(first,
		fmt.Sprintf("ALTER TABLE %s RENAME TO %s", quoted(t.Live), quoted(old)),
		fmt.Sprintf("ALTER TABLE %s RENAME TO %s", quoted(shadow), quoted(t.Live)))
	if err := run(ctx, tx, append(first, then...)); err != nil {
		return fmt.Errorf("put %s in the place of %s: %w", shadow, t.Live, err)
	}
	return t.note(ctx, tx, t.Since(), true)
}

// Validate checks the foreign keys that lead to the table, once it is swapped.
// Until then they hold only for rows that are written; done twice it does nothing.
func (t Table) Validate(ctx context.Context, tx pgx.Tx) error {
	return statements(ctx, tx, lateSQL, t.Live)
}
