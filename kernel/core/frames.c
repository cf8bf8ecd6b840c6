// SPDX-License-Identifier: BSD-2-Clause
// The allocator of host frames, and the table that says whose each frame is. Any core, under
// frames_lock, which is innermost.
//
// Two kinds of free frames. The kernel's pool is what the kernel maps: its objects, all page tables
// and what it shares with hardware. It grows by chunks, which are mapped then and stay in the pool
// for ever, so that nothing must ever be taken out of the kernel's map. All else goes to memory
// objects, and the kernel has no mapping of it (arch_clear() and its like).
//
// Free frames form runs; two of a kind are never adjacent. Everything about a run stands in the
// table, for free frames are not mapped: at its first frame the links and the length, at its last
// one the length again, and at both the owner. So a freed run finds its neighbours at once, and
// taking or freeing one costs the same whatever its size: the owners of the frames in between are
// the business of who has it, in pieces (frames_set_owner()).
//
// Runs below 2 MB are in one list, larger ones in a list for each power of two. Small requests take
// from small runs first and else from the low end of a big one; big requests take from the high end
// of a big one: so 2 MB runs stay whole as long as possible. Only the first ones of a list are
// looked at; but behind the list of a request's own size all runs are large enough, wherever they
// begin.
#include "kernel/core/arch.h"
#include "kernel/lib/string.h"

#define FRAME_SHIFT  12
#define BIG_FRAMES   (PAGE_2M >> FRAME_SHIFT)
#define SMALL_MAX    256u // runs of the first list that are looked at
#define BIG_MAX      16u  // and of each other one
#define LISTS        24u  // below 2^32 frames
#define CHUNK_FRAMES 16u
#define POOL_RESERVE 4u   // free frames of the pool for the tables that map its next chunk

enum kind { OTHERS, POOL };
static const uint32_t marks[] = { FRAME_FREE, FRAME_POOL };

static struct spinlock frames_lock;
static struct frame *table;
static uint64_t table_count;
static struct { uint64_t free, total, pool; } count;
static uint32_t runs[2][LISTS]; // by kind and size: the first run's frame, 0: none
static bool pool_grows;     // kernel_lock

static uint32_t list_number(uint64_t frames)
{
    return frames < BIG_FRAMES ? 0 : 55 - (uint32_t)__builtin_clzll(frames);
}

static uint32_t *list_of(enum kind kind, uint64_t frames)
{
    return &runs[kind][list_number(frames)];
}

static void set_owners(uint64_t frame, uint64_t frames, uint32_t owner)
{
    for (uint64_t i = frame; i < frame + frames; i++)
        table[i].owner = owner;
}

static void run_insert(enum kind kind, uint64_t frame, uint64_t frames)
{
    uint32_t *first = list_of(kind, frames);
    struct frame *f = &table[frame], *last = &table[frame + frames - 1];
    *f = (struct frame){ .owner = marks[kind], .next = *first, .length = (uint32_t)frames };
    last->owner = marks[kind];
    last->length = (uint32_t)frames;
    if (f->next)
        table[f->next].prev = (uint32_t)frame;
    *first = (uint32_t)frame;
}

static void run_remove(enum kind kind, uint64_t frame)
{
    const struct frame *f = &table[frame];
    if (f->prev)
        table[f->prev].next = f->next;
    else
        *list_of(kind, f->length) = f->next;
    if (f->next)
        table[f->next].prev = f->prev;
}

// frames_lock held.
static void run_free(enum kind kind, uint64_t frame, uint64_t frames)
{
    uint64_t end = frame + frames;
    count.free += frames;
    count.pool += kind == POOL ? frames : 0;
    if (end < table_count && table[end].owner == marks[kind]) {
        run_remove(kind, end);
        frames += table[end].length;
    }
    if (frame > 0 && table[frame - 1].owner == marks[kind]) {
        uint32_t before = table[frame - 1].length;
        frame -= before;
        frames += before;
        run_remove(kind, frame);
    }
    run_insert(kind, frame, frames);
}

void frames_init(struct hpa at, uint64_t frames)
{
    table = arch_ptr(at);
    table_count = frames;
    memset(&count, 0, sizeof(count));
    memset(runs, 0, sizeof(runs));
    pool_grows = false;
    set_owners(0, frames, FRAME_RESERVED);
}

void frames_add(struct hpa base, uint64_t frames)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    // A frame at 0 would look like no frame at all: the boot code leaves the first MB out.
    ASSERT(frame && frame + frames <= table_count && table[frame].owner == FRAME_RESERVED);
    spin_lock(&frames_lock);
    run_free(OTHERS, frame, frames);
    count.total += frames;
    spin_unlock(&frames_lock);
}

// Where in the run `frames` of that alignment fit, nearest to its low or its high end.
static bool run_fits(uint64_t start, uint64_t frames, uint64_t align, bool high, uint64_t *at)
{
    uint64_t end = start + table[start].length;
    if (table[start].length < frames)
        return false;
    *at = high ? align_down(end - frames, align) : align_up(start, align);
    return *at >= start && *at + frames <= end;
}

static uint64_t run_find(enum kind kind, uint64_t frames, uint64_t align, uint64_t *at)
{
    bool big = frames >= BIG_FRAMES || align >= BIG_FRAMES;
    for (uint32_t list = max_u64(list_number(frames), big); list < LISTS; list++) {
        uint64_t run = runs[kind][list];
        unsigned most = list ? BIG_MAX : SMALL_MAX;
        for (unsigned looked = 0; run && looked < most; looked++, run = table[run].next)
            if (run_fits(run, frames, align, big, at))
                return run;
    }
    return 0;
}

static bool take(enum kind kind, uint64_t frames, uint64_t align, uint32_t owner, struct hpa *out)
{
    uint64_t at = 0;
    ASSERT(frames && owner != FRAME_FREE && owner != FRAME_POOL);
    spin_lock(&frames_lock);
    uint64_t run = run_find(kind, frames, align, &at);
    if (run) {
        uint64_t end = run + table[run].length;
        run_remove(kind, run);
        if (at > run)
            run_insert(kind, run, at - run);
        if (end > at + frames)
            run_insert(kind, at + frames, end - at - frames);
        if (frames <= FRAMES_MARKED)
            set_owners(at, frames, owner);
        table[at].owner = owner;
        table[at + frames - 1].owner = owner;
        count.free -= frames;
        count.pool -= kind == POOL ? frames : 0;
    }
    spin_unlock(&frames_lock);
    *out = HPA(at << FRAME_SHIFT);
    return run != 0;
}

bool frames_alloc(uint64_t frames, uint64_t align, uint32_t owner, struct hpa *out)
{
    return take(OTHERS, frames, max_u64(align >> FRAME_SHIFT, 1), owner, out);
}

// The tables that map the chunk are made meanwhile, out of the reserve.
static bool pool_grow(uint64_t frames)
{
    struct hpa chunk;
    frames = align_up(frames, CHUNK_FRAMES);
    if (!take(OTHERS, frames, CHUNK_FRAMES, FRAME_KERNEL, &chunk))
        return false;
    pool_grows = true;
    arch_own(chunk, frames);
    pool_grows = false;
    spin_lock(&frames_lock);
    run_free(POOL, chunk.v >> FRAME_SHIFT, frames);
    spin_unlock(&frames_lock);
    return true;
}

bool frames_alloc_kernel(uint64_t frames, uint32_t owner, struct hpa *out)
{
    if (pool_grows)
        return take(POOL, frames, 1, owner, out);
    if (count.pool >= frames + POOL_RESERVE && take(POOL, frames, 1, owner, out))
        return true;
    return pool_grow(frames + POOL_RESERVE) && take(POOL, frames, 1, owner, out);
}

static void give_back(enum kind kind, struct hpa base, uint64_t frames)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    ASSERT(frames && frame + frames <= table_count);
    spin_lock(&frames_lock);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t owner = table[i ? frame + frames - 1 : frame].owner;
        ASSERT(owner != FRAME_FREE && owner != FRAME_POOL && owner != FRAME_RESERVED);
    }
    run_free(kind, frame, frames);
    spin_unlock(&frames_lock);
}

void frames_free(struct hpa base, uint64_t frames) { give_back(OTHERS, base, frames); }
void frames_free_kernel(struct hpa base, uint64_t frames) { give_back(POOL, base, frames); }

void frames_set_owner(struct hpa base, uint64_t frames, uint32_t owner)
{
    uint64_t frame = base.v >> FRAME_SHIFT;
    ASSERT(owner != FRAME_FREE && owner != FRAME_POOL && frame + frames <= table_count);
    spin_lock(&frames_lock);
    set_owners(frame, frames, owner);
    spin_unlock(&frames_lock);
}

uint32_t frames_owner(struct hpa frame)
{
    uint64_t f = frame.v >> FRAME_SHIFT;
    return f < table_count ? table[f].owner : FRAME_RESERVED;
}

uint64_t frames_run(struct hpa frame, uint64_t most)
{
    uint64_t f = frame.v >> FRAME_SHIFT, n = 1;
    if (f >= table_count)
        return most;
    most = min_u64(most, table_count - f);
    while (n < most && table[f + n].owner == table[f].owner)
        n++;
    return n;
}

uint64_t frames_count_free(void) { return count.free; }
uint64_t frames_count_total(void) { return count.total; }
