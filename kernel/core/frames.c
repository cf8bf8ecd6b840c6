// SPDX-License-Identifier: BSD-2-Clause
// The allocator of host frames and the table that says whose each frame is. Any core, under
// frames_lock, which is innermost.
//
// Free frames form runs that are never adjacent. A run's first frame holds struct run, its last one
// the number of the first, so that a freed run finds its neighbours through the owner table at
// once. Runs of 2 MB and more are in one list, smaller ones in another. Small requests take from
// small runs first and else from the low end of a big one; big requests take from the high end of a
// big one: so 2 MB runs stay whole as long as possible, and neither needs a search in an ordered
// list.
#include "kernel/core/arch.h"

#define FRAME_SHIFT  12
#define BIG_FRAMES   (PAGE_2M >> FRAME_SHIFT)
#define SMALL_SEARCH 64 // small runs looked at before a big one is broken

struct run {
    struct list link;
    uint64_t frames;
};

static struct spinlock frames_lock;
static uint32_t *owners; // per frame
static uint64_t owners_count;
static uint64_t count_free, count_total;
static struct list runs[2]; // small, big

static struct run *run_at(uint64_t frame) { return arch_ptr(HPA(frame << FRAME_SHIFT)); }
static uint64_t *run_tail(uint64_t frame) { return (uint64_t *)run_at(frame); }

// The kernel's mapping is linear, so a run's place in it tells the frame.
static uint64_t run_frame(const struct run *r)
{
    return ((uintptr_t)r - (uintptr_t)arch_ptr(HPA(0))) >> FRAME_SHIFT;
}

static void set_owners(uint64_t frame, uint64_t frames, uint32_t owner)
{
#pragma GCC unroll 8 // a run of 256 MB is 65,536 entries
    for (uint64_t i = frame; i < frame + frames; i++)
        owners[i] = owner;
}

static void run_insert(uint64_t frame, uint64_t frames)
{
    struct run *r = run_at(frame);
    r->frames = frames;
    list_push_front(&runs[frames >= BIG_FRAMES], &r->link);
    if (frames > 1)
        *run_tail(frame + frames - 1) = frame;
}

// frames_lock held.
static void run_free(uint64_t frame, uint64_t frames)
{
    set_owners(frame, frames, FRAME_FREE);
    count_free += frames;
    if (frame + frames < owners_count && owners[frame + frames] == FRAME_FREE) {
        struct run *next = run_at(frame + frames);
        list_remove(&next->link);
        frames += next->frames;
    }
    if (frame > 0 && owners[frame - 1] == FRAME_FREE) {
        bool single = frame == 1 || owners[frame - 2] != FRAME_FREE;
        uint64_t start = single ? frame - 1 : *run_tail(frame - 1);
        list_remove(&run_at(start)->link);
        frames += frame - start;
        frame = start;
    }
    run_insert(frame, frames);
}

void frames_init(struct hpa table, uint64_t frames)
{
    owners = arch_ptr(table);
    owners_count = frames;
    count_free = 0;
    count_total = 0;
    list_init(&runs[0]);
    list_init(&runs[1]);
    set_owners(0, frames, FRAME_RESERVED);
}

void frames_add(struct hpa base, uint64_t frames)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    ASSERT(frame + frames <= owners_count && owners[frame] == FRAME_RESERVED);
    if (frame == 0 && frames) { // a frame at 0 would look like no frame at all
        frame++;
        frames--;
    }
    if (!frames)
        return;
    spin_lock(&frames_lock);
    run_free(frame, frames);
    count_total += frames;
    spin_unlock(&frames_lock);
}

// Where in the run `frames` of that alignment fit, nearest to its low or its high end.
static bool run_fits(const struct run *r, uint64_t frames, uint64_t align, bool high, uint64_t *at)
{
    uint64_t start = run_frame(r), end = start + r->frames;
    if (r->frames < frames)
        return false;
    *at = high ? align_down(end - frames, align) : align_up(start, align);
    return *at >= start && *at + frames <= end;
}

static struct run *run_find(uint64_t frames, uint64_t align, uint64_t *at)
{
    bool big = frames >= BIG_FRAMES || align >= BIG_FRAMES;
    for (unsigned kind = big, looked = 0; kind < ARRAY_SIZE(runs); kind++)
        list_for_each(l, &runs[kind]) {
            struct run *r = list_entry(l, struct run, link);
            if (run_fits(r, frames, align, big, at))
                return r;
            if (++looked == SMALL_SEARCH && kind == 0 && !list_empty(&runs[1]))
                break;
        }
    return NULL;
}

bool frames_alloc(uint64_t frames, uint64_t align, uint32_t owner, struct hpa *out)
{
    uint64_t at = 0;
    align = max_u64(align >> FRAME_SHIFT, 1);
    ASSERT(frames && owner != FRAME_FREE);
    spin_lock(&frames_lock);
    struct run *r = run_find(frames, align, &at);
    if (r) {
        uint64_t start = run_frame(r), end = start + r->frames;
        list_remove(&r->link);
        set_owners(at, frames, owner);
        if (at > start)
            run_insert(start, at - start);
        if (end > at + frames)
            run_insert(at + frames, end - at - frames);
        count_free -= frames;
    }
    spin_unlock(&frames_lock);
    *out = HPA(at << FRAME_SHIFT);
    return r != NULL;
}

void frames_free(struct hpa base, uint64_t frames)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    ASSERT(frames && frame + frames <= owners_count);
    spin_lock(&frames_lock);
    ASSERT(owners[frame] != FRAME_FREE && owners[frame + frames - 1] != FRAME_FREE &&
           owners[frame] != FRAME_RESERVED);
    run_free(frame, frames);
    spin_unlock(&frames_lock);
}

void frames_set_owner(struct hpa base, uint64_t frames, uint32_t owner)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    ASSERT(owner != FRAME_FREE && frame + frames <= owners_count);
    spin_lock(&frames_lock);
    set_owners(frame, frames, owner);
    spin_unlock(&frames_lock);
}

uint32_t frames_owner(struct hpa frame)
{
    uint64_t f = frame.v >> FRAME_SHIFT;
    return f < owners_count ? owners[f] : FRAME_RESERVED;
}

uint64_t frames_run(struct hpa frame, uint64_t most)
{
    uint64_t f = frame.v >> FRAME_SHIFT, n = 1;
    if (f >= owners_count)
        return most;
    most = min_u64(most, owners_count - f);
    while (n < most && owners[f + n] == owners[f])
        n++;
    return n;
}

uint64_t frames_count_free(void) { return count_free; }
uint64_t frames_count_total(void) { return count_total; }
