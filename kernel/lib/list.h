// SPDX-License-Identifier: BSD-2-Clause
// Circular doubly linked list with the links inside the elements. No locks: the owner's rules hold.
#pragma once
#include "kernel/lib/types.h"

struct list { struct list *next, *prev; };

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_insert_before(struct list *at, struct list *n)
{
    n->next = at;
    n->prev = at->prev;
    at->prev->next = n;
    at->prev = n;
}

static inline void list_push_back(struct list *l, struct list *n) { list_insert_before(l, n); }
static inline void list_push_front(struct list *l, struct list *n)
{
    list_insert_before(l->next, n);
}

// Leaves `n` an empty list of its own, so that removing it twice does no harm.
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

#define list_entry(p, type, member) container_of(p, type, member)
#define list_for_each(p, l) for (struct list *p = (l)->next; p != (l); p = p->next)
