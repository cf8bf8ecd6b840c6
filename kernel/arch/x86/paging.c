// SPDX-License-Identifier: BSD-2-Clause
// Page tables: one walker for processes, for guests (EPT) and for the kernel itself; what differs
// is in struct pt_format. Tables are written under kernel_lock; hardware walks them at any time, so
// an entry is always written whole.
#include "kernel/arch/x86/paging.h"
#include "kernel/arch/x86/x86.h"

#define EPT_WB   (6ull << 3)
#define EPT_IPAT (1ull << 6)   // whatever the guest's PAT says: RAM is write-back
#define EPT_EXEC 4ull
#define EPT_SPLIT (1ull << 52) // ignored by the CPU: executable in small pages, see paging_split()

// What one piece of work on tables may cost, and what its parts do, in instructions.
#define PIECE      4000u
#define COST_WALK  80u
#define COST_ENTRY 8u
#define COST_TABLE 1200u // made or freed

struct pt_format {
    uint64_t table;   // bits of an entry that leads to a table
    uint64_t present; // any of these: the entry is in use
    uint64_t leaf;    // bits that every leaf has
    uint64_t no_exec; // of a leaf where PROT_EXEC's bit says nothing
    uint64_t limit;   // first address that is not translated
};

// The low bits of an entry are PROT_* as they are, but of a process's its bit for PROT_EXEC. Where
// hvm->nested, VMs have the format of processes.
static const struct pt_format format_process = { PTE_P | PTE_W | PTE_U, PTE_P, PTE_P | PTE_U,
                                                 PTE_NX, 1ull << 47 };
static const struct pt_format format_guest = { 7, 7, EPT_WB | EPT_IPAT, 0, 1ull << 48 };
static const struct pt_format format_kernel = {
    .table = PTE_P | PTE_W, .present = PTE_P, .leaf = PTE_P, .limit = WINDOWS,
};
_Static_assert(PROT_READ == PTE_P && PROT_WRITE == PTE_W && PROT_EXEC == PTE_U &&
               PROT_DEVICE == PTE_PWT && (HOST_PAT >> 8 & 0xff) == 1, "of a process");
_Static_assert(PROT_EXEC == EPT_EXEC, "of a guest");

// The kernel's own tables, made at boot: the root's upper half is in every process's.
static struct space kernel_space = { .owner_id = FRAME_KERNEL };
static uint64_t mmio_next = MMIO_WINDOW;

extern uint8_t idt[];
extern char kernel_start[], kernel_rodata[], kernel_data[], kernel_end[];
static const uint8_t zero_page[4096] __attribute__((aligned(4096)));

void *arch_ptr(struct hpa a) { return (void *)(DIRECT_MAP + a.v); }

static const struct pt_format *format_of(const struct space *s)
{
    if (s->is_vm && !hvm->nested)
        return &format_guest;
    return s == &kernel_space ? &format_kernel : &format_process;
}

static unsigned index_at(uint64_t a, unsigned level) { return a >> (12 + 9 * level) & 511; }
static uint64_t span(unsigned level) { return 1ull << (12 + 9 * level); }
static uint64_t *table_of(uint64_t entry) { return arch_ptr(HPA(entry & PTE_ADDRESS)); }

static bool is_leaf(uint64_t e, unsigned level) { return level == 0 || (e & PTE_PS); }

static __attribute__((noinline)) enum status table_new(struct space *s, struct hpa *table)
{
    if (s->payer && !process_charge(s->payer, PAGE_SIZE))
        return ERR_QUOTA;
    if (!frames_alloc_kernel(1, s->owner_id, table)) {
        if (s->payer)
            process_uncharge(s->payer, PAGE_SIZE);
        return ERR_MEMORY;
    }
    __builtin_memset(arch_ptr(*table), 0, PAGE_SIZE);
    return OK;
}

static void table_free(struct space *s, uint64_t *table)
{
    frames_free_kernel(HPA((uint64_t)table - DIRECT_MAP), 1);
    if (s->payer)
        process_uncharge(s->payer, PAGE_SIZE);
}

void paging_share_kernel(uint64_t *root)
{
    __builtin_memcpy(root + 256, (uint64_t *)arch_ptr(kernel_space.arch.root) + 256, 2048);
}

enum status arch_space_init(struct space *s)
{
    enum status status = table_new(s, &s->arch.root);
    s->arch.table_at = UINT64_MAX; // none
    if (status != OK || s->is_vm)
        return status;
    paging_share_kernel(arch_ptr(s->arch.root));
    status = cr3_make(s);
    if (status != OK)
        table_free(s, arch_ptr(s->arch.root));
    return status;
}

// The entry that ends the walk for `address`: a leaf, one that leads nowhere, or the one at level
// `lowest`.
static uint64_t *entry_find(struct space *s, uint64_t address, unsigned lowest, unsigned *level)
{
    uint64_t *table = arch_ptr(s->arch.root);
    for (unsigned l = 3;; l--) {
        uint64_t *e = &table[index_at(address, l)];
        if (l == lowest || !(*e & format_of(s)->present) || is_leaf(*e, l)) {
            *level = l;
            return e;
        }
        table = table_of(*e);
    }
}

// The entry for `address` at `level`, tables made on the way; NULL when there is no room for one.
static uint64_t *entry_make(struct space *s, uint64_t address, unsigned level, unsigned *cost,
                            enum status *status)
{
    uint64_t *e;
    *cost += COST_WALK;
    for (unsigned l; e = entry_find(s, address, level, &l), l > level;) {
        struct hpa frame;
        *cost += COST_TABLE;
        *status = table_new(s, &frame);
        if (*status != OK)
            return NULL;
        if (*e & format_of(s)->present) // the kernel's pool grew for it, and needed one here itself
            table_free(s, arch_ptr(frame));
        else
            __atomic_store_n(e, frame.v | format_of(s)->table, __ATOMIC_RELEASE);
    }
    return e;
}

static uint64_t leaf_bits(const struct pt_format *f, uint8_t prot)
{
    return f->leaf | prot | ((prot & PROT_EXEC) ? 0 : f->no_exec);
}

static unsigned level_for(uint64_t address, uint64_t hpa, uint64_t bytes)
{
    for (unsigned l = page_1g ? 2 : 1; l; l--)
        if (is_aligned(address | hpa, span(l)) && bytes >= span(l))
            return l;
    return 0;
}

// On a CPU with the fault that paging_split() is for, only the smallest pages are executable.
static uint64_t leaf_at(const struct space *s, unsigned level, uint64_t hpa, uint64_t bits)
{
    if (format_of(s) == &format_guest && level && mitigations.itlb_multihit && (bits & EPT_EXEC))
        bits = (bits & ~EPT_EXEC) | EPT_SPLIT;
    return hpa | bits | (level ? PTE_PS : 0);
}

// How many small pages, from `at` on, what is left of a piece does in one table.
static uint64_t in_table(uint64_t at, uint64_t end, unsigned cost)
{
    uint64_t most = cost < PIECE ? (PIECE - cost) / COST_ENTRY + 1 : 1;
    return min_u64(min_u64(512 - index_at(at, 0), (end - at) / PAGE_SIZE), most);
}

// `bits`: of the leaves. *done: bytes of the range that are mapped; a piece of the rest is.
static enum status map(struct space *s, uint64_t address, uint64_t hpa, uint64_t bytes,
                       uint64_t bits, uint64_t *done)
{
    enum status status = OK;
    for (unsigned cost = 0; *done < bytes && cost < PIECE;) {
        uint64_t at = address + *done, frame = hpa + *done, n = 1, *e;
        unsigned level = level_for(at, frame, bytes - *done) + 1;
        // A table where the leaf should go was left by smaller pages: use those again.
        do {
            e = entry_make(s, at, --level, &cost, &status);
        } while (e && level && (*e & format_of(s)->present));
        if (unlikely(!e))
            return status;
        if (level == 0) { // small pages go on to the end of their table, or of the piece
            n = in_table(at, address + bytes, cost);
            s->arch.table = e - index_at(at, 0);
            s->arch.table_at = at / span(1);
        }
        for (uint64_t i = 0; i < n; i++)
            __atomic_store_n(&e[i], leaf_at(s, level, frame + i * PAGE_SIZE, bits),
                             __ATOMIC_RELEASE);
        *done += n * span(level);
        cost += (unsigned)n * COST_ENTRY;
    }
    return OK;
}

enum status arch_map(struct space *s, uint64_t address, struct hpa hpa, uint64_t bytes,
                     uint8_t prot, uint64_t *done)
{
    uint64_t bits = leaf_bits(format_of(s), prot);
    // A page on demand, for which a VM waits, is mostly near the one before.
    if (unlikely(bytes != PAGE_SIZE || address / span(1) != s->arch.table_at))
        return map(s, address, hpa.v, bytes, bits, done);
    __atomic_store_n(&s->arch.table[index_at(address, 0)], hpa.v | bits, __ATOMIC_RELEASE);
    *done = PAGE_SIZE;
    return OK;
}

// A guest that changes a page's size while it executes there can make many CPUs stop the machine
// ("iTLB multihit": Intel, "Machine Check Error Avoidance on Page Size Change"), if the page is
// large in the guest-physical map too. So large ones are not executable on such a CPU, and the
// first fetch from one splits it. What is not fetched from stays large. kernel_lock held.
enum status paging_split(struct space *s, uint64_t gpa)
{
    unsigned level;
    for (;;) {
        uint64_t *e = entry_find(s, gpa, 0, &level), old = *e;
        if (!(old & EPT_SPLIT))
            return (old & EPT_EXEC) ? OK : ERR_RANGE;
        struct hpa frame;
        enum status status = table_new(s, &frame);
        if (status != OK)
            return status;
        uint64_t *table = arch_ptr(frame), first = old & PTE_ADDRESS;
        uint64_t bits = (old & ~(PTE_ADDRESS | EPT_SPLIT | PTE_PS)) | EPT_EXEC;
        for (unsigned i = 0; i < 512; i++)
            table[i] = leaf_at(s, level - 1, first + i * span(level - 1), bits);
        __atomic_store_n(e, frame.v | format_guest.table, __ATOMIC_RELEASE);
        s->changes++;
    }
}

bool arch_unmap(struct space *s, uint64_t *at, uint64_t end)
{
    for (unsigned cost = 0, level; *at < end; cost += COST_WALK) {
        if (cost >= PIECE)
            return false;
        uint64_t *e = entry_find(s, *at, 0, &level), n = level ? 1 : in_table(*at, end, cost);
        for (uint64_t i = 0; i < n; i++)
            __atomic_store_n(&e[i], 0, __ATOMIC_RELEASE);
        *at = align_down(*at, span(level)) + n * span(level);
        cost += (unsigned)n * COST_ENTRY;
    }
    return true;
}

// Frees tables in the order of the addresses that they end at: one whose last address is behind us
// leads to no other any more.
bool arch_space_free(struct space *s)
{
    uint64_t end = format_of(s)->limit;
    for (unsigned cost = 0, level; s->arch.freed < end; cost += COST_WALK) {
        if (cost >= PIECE)
            return false;
        uint64_t *e = entry_find(s, s->arch.freed, 1, &level);
        if (level == 1 && (*e & format_of(s)->present) && !is_leaf(*e, 1)) {
            table_free(s, table_of(*e));
            *e = 0;
            cost += COST_TABLE;
        }
        do {
            s->arch.freed += span(level);
            cost += COST_ENTRY;
        } while (s->arch.freed < end && !is_aligned(s->arch.freed, span(level + 1)) && !*++e);
        while (level < 3 && is_aligned(s->arch.freed, span(level + 1))) {
            level++;
            e = entry_find(s, s->arch.freed - 1, level, &level);
            table_free(s, table_of(*e));
            *e = 0;
            cost += COST_TABLE;
        }
    }
    table_free(s, arch_ptr(s->arch.root));
    s->arch.root = HPA(0);
    cr3_unmake(s);
    return true;
}

bool arch_walk(struct space *s, uint64_t address, struct hpa *hpa, uint8_t *prot, uint64_t *left)
{
    const struct pt_format *f = format_of(s);
    unsigned level;
    if (address >= f->limit)
        return false;
    uint64_t e = *entry_find(s, address, 0, &level), offset = address & (span(level) - 1);
    if (!(e & f->present))
        return false;
    hpa->v = (e & PTE_ADDRESS & ~(span(level) - 1)) + offset;
    *left = span(level) - offset;
    *prot = (e & (PROT_READ | PROT_WRITE)) |
            ((f->no_exec ? !(e & f->no_exec) : e & EPT_EXEC) ? PROT_EXEC : 0);
    return true;
}

// The cursor is an address and, in its low bits, how many tables at that address were already
// given. Empty entries in a row, to the end of their table at most, are one item without bytes.
bool arch_space_next(struct space *s, uint64_t *cursor, struct audit_item *item)
{
    const struct pt_format *f = format_of(s);
    uint64_t address = align_down(*cursor, PAGE_SIZE);
    unsigned l = 3 - (unsigned)(*cursor - address);
    if (address >= f->limit)
        return false;
    while (l && !is_aligned(address, span(l))) // those above begin before: they were given
        l--;
    const uint64_t *e = entry_find(s, address, l, &l);
    bool used = *e & f->present, table = used && !is_leaf(*e, l);
    address = align_down(address, span(l));
    *item = (struct audit_item){ HPA(*e & PTE_ADDRESS), PAGE_SIZE, table, address, 0 };
    *cursor = address | (4 - l);
    if (table)
        return true;
    item->frame.v &= ~(span(l) - 1);
    item->bytes = used ? span(l) : 0;
    while (!used && index_at(address, l) + item->empty < 512 && !e[item->empty])
        item->empty++;
    *cursor = address + (used ? 1 : item->empty) * span(l);
    return true;
}

bool arch_kernel_next(uint64_t *cursor, struct audit_item *item)
{
    *cursor = max_u64(*cursor, DIRECT_MAP);
    return arch_space_next(&kernel_space, cursor, item);
}

void arch_space_flush(struct space *s)
{
    if (s->is_vm)
        hvm->flush(s);
    else
        cr3_flush(s);
}

static void kernel_map(uint64_t va, uint64_t hpa, uint64_t bytes, uint64_t bits)
{
    for (uint64_t done = 0; done < bytes;)
        if (map(&kernel_space, va, hpa, bytes, format_kernel.leaf | bits, &done) != OK)
            panic("no memory for the kernel's page tables");
}

static void map_image(const char *from, const char *to, uint64_t bits)
{
    uint64_t va = (uint64_t)from;
    kernel_map(va, va - KERNEL_VMA, (uint64_t)to - va, PTE_G | bits);
}

// A table of one page at the start of 64 KB, zeros behind it.
static void map_window(uint64_t window, uint64_t table, uint64_t bits)
{
    for (unsigned p = 1; p < 16; p++)
        kernel_map(window + p * PAGE_SIZE, (uint64_t)zero_page - KERNEL_VMA, PAGE_SIZE,
                   PTE_G | PTE_NX);
    kernel_map(window, table, PAGE_SIZE, PTE_G | PTE_NX | bits);
}

// The first chunk is used before there are tables; what boot.S mapped serves until then.
static struct { struct hpa base; uint64_t frames; } first_chunk;

void arch_own(struct hpa base, uint64_t frames)
{
    if (kernel_space.arch.root.v) {
        kernel_map(DIRECT_MAP + base.v, base.v, frames * PAGE_SIZE, PTE_G | PTE_NX | PTE_W);
    } else {
        first_chunk.base = base;
        first_chunk.frames = frames;
    }
}

// The kernel maps its image and what it owns, nothing else. Tables of the second level are made for
// all of RAM, for each process has a copy of the root.
void paging_init(uint64_t ram_end, struct ram_range frame_table, const struct boot_screen *screen)
{
    enum status status = table_new(&kernel_space, &kernel_space.arch.root);
    unsigned cost = 0;
    uint64_t *windows = NULL;
    if (status == OK)
        windows = entry_make(&kernel_space, WINDOWS, 0, &cost, &status);
    for (uint64_t a = 0; status == OK && a < ram_end; a += span(3))
        (void)entry_make(&kernel_space, DIRECT_MAP + a, 2, &cost, &status);
    if (status != OK)
        panic("no memory for the kernel's page tables");
    window_init(windows);
    arch_own(first_chunk.base, first_chunk.frames);
    arch_own(HPA(frame_table.base), (frame_table.end - frame_table.base) / PAGE_SIZE);
    map_image(kernel_start, kernel_rodata, 0);
    map_image(kernel_rodata, kernel_data, PTE_NX);
    map_image(kernel_data, kernel_end, PTE_NX | PTE_W);
    map_window(IDT_WINDOW, (uint64_t)idt - KERNEL_VMA, 0);
    if (screen->width)
        kernel_map(SCREEN_WINDOW, screen->hpa,
                   align_up((uint64_t)screen->pitch * screen->height, PAGE_SIZE),
                   PTE_G | PTE_NX | PTE_W | PTE_PWT);
    write_cr3(kernel_space.arch.root.v);
    cr3_kernel = kernel_space.arch.root.v | (features.pcid ? CR3_NO_FLUSH : 0);
}

void paging_map_cpu(struct cpu_block *b)
{
    struct hpa frames;
    uint64_t bytes = align_up((uint64_t)(&b->cpu + 1) - (uint64_t)b->stack, PAGE_SIZE);
    if (!frames_alloc_kernel(1 + bytes / PAGE_SIZE, FRAME_KERNEL, &frames))
        panic("no memory for a core");
    __builtin_memset(arch_ptr(frames), 0, PAGE_SIZE + bytes);
    map_window((uint64_t)b->gdt, frames.v, PTE_W);
    kernel_map((uint64_t)b->stack, frames.v + PAGE_SIZE, bytes, PTE_G | PTE_NX | PTE_W);
}

void *paging_map_mmio(struct hpa hpa)
{
    uint64_t va = mmio_next, offset = hpa.v & (PAGE_SIZE - 1);
    kernel_map(va, hpa.v - offset, PAGE_SIZE, PTE_W | PTE_NX | PTE_PCD | PTE_PWT);
    mmio_next += PAGE_SIZE;
    return (void *)(va + offset);
}
