// SPDX-License-Identifier: BSD-2-Clause
#include "kernel/arch/x86/memmap.h"
#include "kernel/abi/syscall.h"

static void remove_at(struct memmap *m, uint32_t at)
{
    for (m->count--; at < m->count; at++)
        m->range[at] = m->range[at + 1];
}

// A full table keeps its larger ranges.
static bool make_room(struct memmap *m, uint64_t bytes)
{
    uint32_t least = 0;
    if (m->count < MEMMAP_RANGES)
        return true;
    for (uint32_t i = 1; i < m->count; i++)
        if (m->range[i].end - m->range[i].base < m->range[least].end - m->range[least].base)
            least = i;
    uint64_t smallest = m->range[least].end - m->range[least].base;
    m->lost += min_u64(smallest, bytes);
    if (bytes <= smallest)
        return false;
    remove_at(m, least);
    return true;
}

void memmap_add(struct memmap *m, uint64_t base, uint64_t end)
{
    end = align_down(end, PAGE_SIZE);
    if (base >= end)
        return;
    base = align_up(base, PAGE_SIZE);
    if (base >= end)
        return;
    m->top = max_u64(m->top, end);
    // What overlaps or touches becomes one range: a frame must not be handed out twice.
    for (uint32_t i = 0; i < m->count;) {
        struct ram_range *r = &m->range[i];
        if (r->end < base || r->base > end) {
            i++;
            continue;
        }
        base = min_u64(base, r->base);
        end = max_u64(end, r->end);
        remove_at(m, i);
    }
    if (!make_room(m, end - base))
        return;
    uint32_t at = m->count++;
    for (; at > 0 && m->range[at - 1].base > base; at--)
        m->range[at] = m->range[at - 1];
    m->range[at] = (struct ram_range){ base, end };
}

void memmap_cut(struct memmap *m, uint64_t base, uint64_t end)
{
    base = align_down(base, PAGE_SIZE);
    end = end > UINT64_MAX - PAGE_SIZE ? align_down(end, PAGE_SIZE) : align_up(end, PAGE_SIZE);
    for (uint32_t i = 0; i < m->count && base < end;) {
        struct ram_range r = m->range[i];
        if (end <= r.base || base >= r.end) {
            i++;
            continue;
        }
        remove_at(m, i);
        memmap_add(m, r.base, max_u64(r.base, base));
        memmap_add(m, min_u64(r.end, end), r.end);
        i = 0; // where the halves went depends on how full the table is
    }
}

bool memmap_has(const struct memmap *m, uint64_t base, uint64_t end)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (base < m->range[i].end && m->range[i].base < end)
            return true;
    return false;
}

uint64_t memmap_last_page(const struct memmap *m, uint64_t from, uint64_t to)
{
    uint64_t page = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t base = max_u64(m->range[i].base, from), end = min_u64(m->range[i].end, to);
        if (end >= PAGE_SIZE && end - PAGE_SIZE >= base && end > base)
            page = end - PAGE_SIZE;
    }
    return page;
}

uint64_t memmap_take_table(struct memmap *m, uint64_t entry, uint64_t mapped, uint64_t *base)
{
    uint64_t best = 0, best_room = 0, pages = m->top / PAGE_SIZE;
    for (uint32_t i = 0; i < m->count && best_room < pages * entry; i++) {
        const struct ram_range *r = &m->range[i];
        uint64_t room = r->base < mapped ? min_u64(r->end, mapped) - r->base : 0;
        if (room > best_room) {
            best_room = room;
            best = r->base;
        }
    }
    pages = min_u64(pages, best_room / entry);
    *base = best;
    memmap_cut(m, best, best + pages * entry);
    return pages;
}
