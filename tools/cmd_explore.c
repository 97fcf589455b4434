/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explore: layers on the left, files on the right, in a terminal of 80x24 or
 * more. What is shown comes from strata.c; a file's content from the view of
 * the layers up to the chosen one.
 */
#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/strata.h"
#include "tools/view.h"

#define SHOW_MAX (4 << 20) /* bytes of a file that are shown */
#define MIN_COLS 60
#define MIN_ROWS 12

enum { PAIR_NONE,
       PAIR_ADDED,
       PAIR_CHANGED,
       PAIR_DELETED,
       PAIR_DIR };

struct row {
	const struct strata_node *node; /* NULL: ".." */
	uint64_t bytes; /* of a directory all below */
	uint64_t changes; /* by the chosen layer, in it and below */
};

struct explore {
	struct cmd *c;
	struct image *img;
	struct view *all; /* holds the layers' paths */
	struct strata *s;
	struct view *view; /* of the layers up to view_layer */
	unsigned n, layer, view_layer;
	bool changes_only, files; /* files: the right side has the keys */
	const struct strata_node *dir;
	struct row *row;
	size_t rows, sel, top, layer_top;
	char search[128];
	char message[256];
};

/* --- what is to be seen ------------------------------------------------------ */

static void measure(const struct explore *x, const struct strata_node *n, uint64_t *bytes,
		    uint64_t *changes)
{
	const struct strata_event *e = strata_at(n, x->layer);
	uint32_t i;

	if (!e)
		return;
	if (e->layer == x->layer && !(e->change == STRATA_CHANGED && S_ISDIR(e->mode)))
		++*changes;
	if (e->change != STRATA_DELETED)
		*bytes += e->size;
	for (i = 0; i < n->children; i++)
		measure(x, n->child[i], bytes, changes);
}

/* Whether a name is listed: there, or gone by this very layer. */
static bool listed(const struct explore *x, const struct strata_node *n, struct row *ret)
{
	const struct strata_event *e = strata_at(n, x->layer);

	*ret = (struct row){ .node = n };
	if (!e || (e->change == STRATA_DELETED && e->layer != x->layer))
		return false;
	measure(x, n, &ret->bytes, &ret->changes);
	return ret->changes || !x->changes_only;
}

static int list(struct explore *x, const struct strata_node *dir, const struct strata_node *at)
{
	struct row *rows = sys_calloc(dir->children + 1UL, sizeof(*rows)), r;
	size_t n = 0;
	uint32_t i;

	if (!rows)
		return -ENOMEM;
	if (dir->parent)
		rows[n++].node = NULL;
	x->sel = 0;
	for (i = 0; i < dir->children; i++) {
		if (!listed(x, dir->child[i], &r))
			continue;
		if (dir->child[i] == at)
			x->sel = n;
		rows[n++] = r;
	}
	free(x->row);
	x->row = rows;
	x->rows = n;
	x->dir = dir;
	x->top = 0;
	return 0;
}

/* The same directory, or the nearest above that is still to be seen. */
static int relist(struct explore *x)
{
	const struct strata_node *dir = x->dir;
	const struct strata_node *at = x->sel < x->rows ? x->row[x->sel].node : NULL;
	struct row r;

	while (dir->parent && !listed(x, dir, &r)) {
		at = dir;
		dir = dir->parent;
	}
	return list(x, dir, at);
}

/* The path of a node, malloc'ed. */
static char *path_of(const struct strata_node *n)
{
	const struct strata_node *p;
	size_t len = 1;
	char *s, *end;

	for (p = n; p->parent; p = p->parent)
		len += strlen(p->name) + 1;
	s = sys_malloc(len + 1);
	if (!s)
		return NULL;
	end = s + len;
	*end = 0;
	for (p = n; p->parent; p = p->parent) {
		size_t k = strlen(p->name);

		end -= k;
		memcpy(end, p->name, k);
		*--end = '/';
	}
	return end == s ? s : memmove(s, *end ? end : "/", strlen(*end ? end : "/") + 1);
}

/* --- drawing ----------------------------------------------------------------- */

/* At most @width columns of a name, without anything that a terminal could obey. */
static void put_text(int y, int x, int width, const char *s)
{
	char *t = out_escape(s);

	if (t && width > 0)
		(void)mvaddnstr(y, x, t, width);
	free(t);
}

static void bar(int y, const char *s)
{
	(void)attron(A_REVERSE);
	(void)mvhline(y, 0, ' ', COLS);
	put_text(y, 1, COLS - 2, s);
	(void)attroff(A_REVERSE);
}

static const char *made_by(const struct explore *x, unsigned layer)
{
	unsigned i;

	for (i = 0; i < image_histories(x->img); i++)
		if (image_history(x->img, i)->layer == (int)layer)
			return image_history(x->img, i)->created_by;
	return "";
}

static void draw_layers(struct explore *x, int width, int height)
{
	char size[OUT_SIZE], wasted[OUT_SIZE], line[64];
	int y;

	if (x->layer < x->layer_top)
		x->layer_top = x->layer;
	if (x->layer >= x->layer_top + (size_t)height)
		x->layer_top = x->layer - (size_t)height + 1;
	for (y = 0; y < height && x->layer_top + (size_t)y < x->n; y++) {
		unsigned i = (unsigned)x->layer_top + (unsigned)y;
		const struct strata_sum *sum = strata_sum(x->s, i);
		attr_t here = x->files ? A_BOLD : A_REVERSE, on = i == x->layer ? here : A_NORMAL;

		(void)snprintf(line, sizeof(line), "%3u %5s %5s ", i + 1,
			       out_size(sum->bytes, size),
			       sum->wasted ? out_size(sum->wasted, wasted) : "");
		(void)attron(on);
		(void)mvhline(y + 2, 0, ' ', width);
		(void)mvaddnstr(y + 2, 0, line, width);
		put_text(y + 2, (int)strlen(line), width - (int)strlen(line), made_by(x, i));
		(void)attroff(on);
	}
}

static void draw_file(struct explore *x, const struct row *r, int y, int left, int width, bool on)
{
	const struct strata_event *e = r->node ? strata_at(r->node, x->layer) : NULL;
	bool dir = !e || S_ISDIR(e->mode), mine = e && e->layer == x->layer;
	char size[OUT_SIZE], mode[OUT_MODE] = "", mark = ' ', line[64];
	int pair = dir ? PAIR_DIR : PAIR_NONE;

	if (mine && e->change == STRATA_DELETED) {
		mark = '-';
		pair = PAIR_DELETED;
	} else if (mine && e->change == STRATA_ADDED) {
		mark = '+';
		pair = PAIR_ADDED;
	} else if (r->changes) {
		mark = '~';
		pair = PAIR_CHANGED;
	}
	(void)snprintf(line, sizeof(line), "%c %10s %5s ", mark, e ? out_mode(e->mode, mode) : "",
		       e && (r->bytes || S_ISREG(e->mode)) ?
			       out_size(e->change == STRATA_DELETED ? e->size : r->bytes, size) :
			       "");
	(void)attron((on ? A_REVERSE : A_NORMAL) | (attr_t)COLOR_PAIR(pair));
	(void)mvhline(y, left, ' ', width);
	(void)mvaddnstr(y, left, line, width);
	put_text(y, left + (int)strlen(line), width - (int)strlen(line),
		 r->node ? r->node->name : "..");
	if (dir && r->node && getcurx(stdscr) < left + width)
		(void)addch('/');
	(void)attroff((on ? A_REVERSE : A_NORMAL) | (attr_t)COLOR_PAIR(pair));
}

static void draw(struct explore *x)
{
	const struct strata_sum *sum = strata_sum(x->s, x->layer);
	int left = COLS * 2 / 5, height = LINES - 5, y;
	char text[400], b[OUT_SIZE], w[OUT_SIZE];
	_cleanup_free_ char *path = path_of(x->dir);

	(void)erase();
	if (COLS < MIN_COLS || LINES < MIN_ROWS) {
		(void)mvaddnstr(0, 0, "this terminal is too small", COLS);
		(void)refresh();
		return;
	}
	(void)snprintf(text, sizeof(text), "plyctl explore  %s", image_ref(x->img));
	bar(0, text);
	(void)attron(A_BOLD);
	(void)mvaddstr(1, 0, "  # bytes waste made by");
	(void)mvaddnstr(1, left + 2, x->changes_only ? "what this layer changed in " : "files in ",
			COLS - left - 2);
	put_text(1, getcurx(stdscr), COLS - getcurx(stdscr), path ? path : "");
	(void)attroff(A_BOLD);
	draw_layers(x, left - 1, height);
	(void)mvvline(1, left, ACS_VLINE, height + 1);
	if (x->sel < x->top)
		x->top = x->sel;
	if (x->sel >= x->top + (size_t)height)
		x->top = x->sel - (size_t)height + 1;
	for (y = 0; y < height && x->top + (size_t)y < x->rows; y++)
		draw_file(x, &x->row[x->top + (size_t)y], y + 2, left + 2, COLS - left - 2,
			  x->files && x->top + (size_t)y == x->sel);
	if (!x->rows)
		(void)mvaddstr(2, left + 2, "nothing");
	(void)snprintf(text, sizeof(text),
		       "layer %u of %u: %" PRIu64 " added, %" PRIu64 " changed, %" PRIu64
		       " deleted; %s, of which %s wasted by layers above",
		       x->layer + 1, x->n, sum->added, sum->changed, sum->deleted,
		       out_size(sum->bytes, b), out_size(sum->wasted, w));
	put_text(LINES - 3, 1, COLS - 2, text);
	put_text(LINES - 2, 1, COLS - 2, x->message);
	bar(LINES - 1,
	    "Tab side  arrows move  Enter open  c changes only  / search  n next  q quit");
	(void)refresh();
}

/* --- showing a file ---------------------------------------------------------- */

struct text {
	const char *s;
	size_t len;
	bool binary;
	size_t *line; /* where each begins */
	size_t lines;
};

static int split(struct text *t)
{
	size_t i, n = 1;

	t->binary = memchr(t->s, 0, t->len < 4096 ? t->len : 4096) != NULL;
	if (t->binary) {
		t->lines = (t->len + 15) / 16;
		return 0;
	}
	for (i = 0; i < t->len; i++)
		n += t->s[i] == '\n';
	t->line = sys_calloc(n + 1, sizeof(*t->line));
	if (!t->line)
		return -ENOMEM;
	for (i = 0; i < t->len; i++)
		if (t->s[i] == '\n' && i + 1 < t->len)
			t->line[++t->lines] = i + 1;
	t->lines += t->len != 0;
	return 0;
}

static void draw_hex(const struct text *t, size_t line, int y)
{
	size_t at = line * 16, i;

	(void)mvprintw(y, 0, "%08zx ", at);
	for (i = at; i < at + 16 && i < t->len; i++)
		(void)printw(" %02x", (unsigned char)t->s[i]);
	for (i = at; i < at + 16 && i < t->len; i++)
		(void)mvaddch(y, 59 + (int)(i - at),
			      t->s[i] >= ' ' && t->s[i] < 127 ? (chtype)t->s[i] : '.');
}

static void draw_line(const struct text *t, size_t line, size_t shift, int y)
{
	size_t from = t->line[line];
	size_t to = line + 1 < t->lines ? t->line[line + 1] - 1 : t->len, n;
	char *s;

	from += shift < to - from ? shift : to - from;
	n = to - from < (size_t)COLS ? to - from : (size_t)COLS;
	s = sys_malloc(n + 1);
	if (!s)
		return;
	memcpy(s, t->s + from, n);
	s[n] = 0;
	for (char *p = s; *p; p++)
		if (*p == '\t')
			*p = ' ';
	put_text(y, 0, COLS, s);
	free(s);
}

static void page(const struct text *t, const char *title)
{
	size_t top = 0, shift = 0, height, i;
	int key = 0;

	while (key != 'q' && key != 27 && key != KEY_LEFT) {
		height = LINES > 2 ? (size_t)LINES - 2 : 1;
		if (top + height > t->lines)
			top = t->lines > height ? t->lines - height : 0;
		(void)erase();
		bar(0, title);
		for (i = 0; i < height && top + i < t->lines; i++) {
			if (t->binary)
				draw_hex(t, top + i, (int)i + 1);
			else
				draw_line(t, top + i, shift, (int)i + 1);
		}
		bar(LINES - 1, "arrows and Space move  < > sideways  q back");
		(void)refresh();
		key = getch();
		switch (key) {
		case KEY_DOWN:
		case 'j':
			top++;
			break;
		case KEY_UP:
		case 'k':
			top -= top != 0;
			break;
		case ' ':
		case KEY_NPAGE:
			top += height;
			break;
		case KEY_PPAGE:
			top = top > height ? top - height : 0;
			break;
		case KEY_HOME:
			top = 0;
			break;
		case KEY_END:
			top = t->lines;
			break;
		case '>':
			shift += 20;
			break;
		case '<':
			shift = shift > 20 ? shift - 20 : 0;
			break;
		default:
			break;
		}
	}
}

/* The view that has the layers up to the chosen one. -errno, said in the message. */
static int want_view(struct explore *x)
{
	char *err = NULL;
	int r;

	if (x->view && x->view_layer == x->layer)
		return 0;
	view_close(x->view);
	x->view = NULL;
	r = view_open_paths(view_paths(x->all, NULL), x->layer + 1, &x->view, &err);
	if (r < 0)
		(void)snprintf(x->message, sizeof(x->message), "%s", err ? err : strerror(-r));
	free(err);
	x->view_layer = x->layer;
	return r;
}

static int show_content(struct explore *x, const struct view_file *f, const char *path)
{
	size_t max = f->st.stx_size < SHOW_MAX ? (size_t)f->st.stx_size : SHOW_MAX;
	_cleanup_free_ char *buf = sys_malloc(max + 1);
	struct text t = { .s = buf };
	char title[400];
	ssize_t n;
	int r;

	if (!buf)
		return -ENOMEM;
	n = view_read(x->view, f, buf, max, 0);
	if (n < 0)
		return (int)n;
	t.len = (size_t)n;
	r = split(&t);
	if (r == 0) {
		(void)snprintf(title, sizeof(title), "%.300s%s", path,
			       f->st.stx_size > max ? "  (its first 4 MiB)" : "");
		page(&t, title);
	}
	free(t.line);
	return r;
}

static void show_file(struct explore *x, const struct strata_node *n)
{
	_cleanup_free_ char *path = path_of(n), *target = NULL;
	struct view_file f;
	int r;

	if (!path || want_view(x) < 0)
		return;
	r = view_lookup(x->view, path, false, &f);
	if (r == 0) {
		if (S_ISREG(f.st.stx_mode)) {
			r = show_content(x, &f, path);
		} else if (S_ISLNK(f.st.stx_mode)) {
			r = view_readlink(x->view, &f, &target);
			if (r == 0)
				(void)snprintf(x->message, sizeof(x->message), "links to %.200s",
					       target);
		} else {
			(void)snprintf(x->message, sizeof(x->message), "is a %s",
				       out_type(f.st.stx_mode));
		}
		view_put(x->view, &f);
	}
	if (r < 0)
		(void)snprintf(x->message, sizeof(x->message), "%.150s: %s", path, strerror(-r));
}

/* --- searching --------------------------------------------------------------- */

/* The next node, in the order of a full listing, whose name has the word; after *@from. */
static const struct strata_node *search(const struct explore *x, const struct strata_node *n,
					const struct strata_node **from)
{
	const struct strata_node *found;
	struct row r;
	uint32_t i;

	if (n->parent && !listed(x, n, &r))
		return NULL;
	if (!*from && n->parent && strstr(n->name, x->search))
		return n;
	if (*from == n)
		*from = NULL;
	for (i = 0; i < n->children; i++) {
		found = search(x, n->child[i], from);
		if (found)
			return found;
	}
	return NULL;
}

static int find_next(struct explore *x)
{
	const struct strata_node *from = x->sel < x->rows && x->row[x->sel].node ?
						 x->row[x->sel].node :
						 x->dir;
	const struct strata_node *n;

	if (!x->search[0])
		return 0;
	n = search(x, strata_root(x->s), &from);
	if (!n) { /* from the beginning */
		from = NULL;
		n = search(x, strata_root(x->s), &from);
	}
	if (!n) {
		(void)snprintf(x->message, sizeof(x->message), "nothing has '%s' in its name",
			       x->search);
		return 0;
	}
	x->files = true;
	return list(x, n->parent, n);
}

static int ask_search(struct explore *x)
{
	size_t n = 0;
	int key;

	x->search[0] = 0;
	for (;;) {
		(void)snprintf(x->message, sizeof(x->message), "search: %s_", x->search);
		draw(x);
		key = getch();
		if (key == 27)
			break;
		if (key == '\n' || key == KEY_ENTER)
			break;
		if ((key == KEY_BACKSPACE || key == 127 || key == 8) && n)
			x->search[--n] = 0;
		else if (key >= ' ' && key < 256 && key != 127 && n + 1 < sizeof(x->search)) {
			x->search[n++] = (char)key;
			x->search[n] = 0;
		}
	}
	x->message[0] = 0;
	return key == 27 ? 0 : find_next(x);
}

/* --- keys -------------------------------------------------------------------- */

static int open_row(struct explore *x)
{
	const struct strata_node *n = x->sel < x->rows ? x->row[x->sel].node : NULL;
	const struct strata_event *e = n ? strata_at(n, x->layer) : NULL;

	if (x->sel >= x->rows)
		return 0;
	if (!n)
		return list(x, x->dir->parent, x->dir);
	if (S_ISDIR(e->mode))
		return list(x, n, NULL);
	if (e->change == STRATA_DELETED)
		(void)snprintf(x->message, sizeof(x->message), "this layer deletes it");
	else
		show_file(x, n);
	return 0;
}

static void move_by(struct explore *x, long by, int *ret_r)
{
	long at = x->files ? (long)x->sel : (long)x->layer;
	long n = x->files ? (long)x->rows : (long)x->n;

	at += by;
	if (at >= n)
		at = n - 1;
	if (at < 0)
		at = 0;
	if (x->files) {
		x->sel = (size_t)at;
	} else if ((unsigned)at != x->layer) {
		x->layer = (unsigned)at;
		*ret_r = relist(x);
	}
}

/* 0, -errno, or 1 at the end. */
static int press(struct explore *x, int key)
{
	int r = 0;

	x->message[0] = 0;
	switch (key) {
	case 'q':
		return 1;
	case '\t':
		x->files = !x->files;
		return 0;
	case KEY_DOWN:
	case 'j':
		move_by(x, 1, &r);
		return r;
	case KEY_UP:
	case 'k':
		move_by(x, -1, &r);
		return r;
	case KEY_NPAGE:
	case ' ':
		move_by(x, LINES - 6, &r);
		return r;
	case KEY_PPAGE:
		move_by(x, 6 - LINES, &r);
		return r;
	case KEY_HOME:
		move_by(x, -1000000000L, &r);
		return r;
	case KEY_END:
		move_by(x, 1000000000L, &r);
		return r;
	case '\n':
	case KEY_ENTER:
	case KEY_RIGHT:
	case 'l':
		if (x->files)
			return open_row(x);
		x->files = true;
		return 0;
	case KEY_LEFT:
	case KEY_BACKSPACE:
	case 127:
	case 'h':
		if (!x->files)
			return 0;
		if (x->dir->parent)
			return list(x, x->dir->parent, x->dir);
		x->files = false;
		return 0;
	case 'c':
		x->changes_only = !x->changes_only;
		return relist(x);
	case '/':
		return ask_search(x);
	case 'n':
		return find_next(x);
	default:
		return 0;
	}
}

/* --- the command ------------------------------------------------------------- */

static int run_screen(struct explore *x)
{
	int r = 0;

	(void)setlocale(LC_ALL, "");
	if (!initscr())
		return -ENOTTY;
	(void)cbreak();
	(void)noecho();
	(void)keypad(stdscr, TRUE);
	(void)curs_set(0);
	(void)set_escdelay(50);
	if (has_colors() && !getenv("NO_COLOR")) {
		(void)start_color();
		(void)use_default_colors();
		(void)init_pair(PAIR_ADDED, COLOR_GREEN, -1);
		(void)init_pair(PAIR_CHANGED, COLOR_YELLOW, -1);
		(void)init_pair(PAIR_DELETED, COLOR_RED, -1);
		(void)init_pair(PAIR_DIR, COLOR_BLUE, -1);
	}
	while (r == 0) {
		int key;

		draw(x);
		key = getch();
		r = key == ERR ? 1 : press(x, key);
	}
	(void)endwin();
	return r < 0 ? r : 0;
}

static int run_explore(struct cmd *c)
{
	struct explore x = { .c = c };
	char *err = NULL;
	int r, e = 0;

	if (c->json)
		return cmd_usage(c, "explore is for people; see history, find and diff");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return cmd_usage(c, "explore needs a terminal");
	r = view_open(c, c->argv[0], NULL, &x.all, &x.img);
	if (r != CMD_OK)
		return r;
	e = strata_new(view_paths(x.all, &x.n), image_layers(x.img), &x.s, &err);
	if (e == 0) {
		x.layer = x.n - 1;
		e = list(&x, strata_root(x.s), NULL);
	}
	if (e == 0)
		e = run_screen(&x);
	view_close(x.view);
	view_close(x.all);
	strata_free(x.s);
	free(x.row);
	image_close(x.img);
	return e < 0 ? cmd_fail(e, err, c->argv[0]) : CMD_OK;
}

const struct command cmd_explore = {
	.name = "explore",
	.args = "IMAGE",
	.summary = "browse layers and files, on the whole screen",
	.help = "Layers are on the left: bytes that each brings, bytes of these that layers\n"
		"above overwrite or delete, and what made it. On the right are the files as the\n"
		"chosen layer leaves them: + it added, ~ it changed, - it deleted. Keys: Tab\n"
		"changes sides, arrows (or h j k l) move, Enter opens a directory or shows a\n"
		"file, c shows only what the layer changed, / searches names, n goes to the\n"
		"next, q leaves.",
	.min = 1,
	.max = 1,
	.flags = CMD_IMAGE,
	.run = run_explore,
};
