// SPDX-License-Identifier: BSD-2-Clause
// The simulated cores' memory management and VMCS rules (see hardware.h).
#include "tests/unit/arch/fake.h"
#include "kernel/lib/string.h"
#include "tests/unit/arch/hardware.h"

#define TLB_ENTRIES 192

// A linear translation, by PCID; a guest-physical one, by its tables' root; a combined one, by root
// and VPID. And cached entries that lead to a table.
enum kind { FREE, LINEAR, GUEST, COMBINED };

struct tlb_entry {
    uint8_t kind;
    bool table;        // paging-structure cache
    uint8_t prot;
    uint8_t level;     // of the entry; a leaf covers one page here, whatever the level
    uint16_t tag;      // PCID or VPID
    uint32_t owner;    // of the frame, when it was read
    uint64_t root;     // of the tables it was read from
    uint64_t page;
    uint64_t frame;
};

struct hw_core hw[CPU_MAX];
struct hw_options hw_options;
static struct tlb_entry tlb[CPU_MAX][TLB_ENTRIES];
static unsigned tlb_next[CPU_MAX];
static uint64_t random_state;

#define for_each_entry(e, core)                                                                    \
    for (struct tlb_entry *e = tlb[core]; e < tlb[core] + TLB_ENTRIES; e++)

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

// The kernel's own function, but nothing comes in between.
static uint32_t owner_of(uint64_t frame)
{
    fake.aside++;
    uint32_t owner = frames_owner(HPA(frame));
    fake.aside--;
    return owner;
}

void hw_reset(void)
{
    memset(tlb, 0, sizeof(tlb));
    memset(hw, 0, sizeof(hw));
    for (uint32_t i = 0; i < CPU_MAX; i++) {
        hw[i].cr3 = HW_KERNEL_ROOT;
        hw[i].cr3_owner = FRAME_RESERVED;
    }
    random_state = hw_options.seed * 2 + 0x9e3779b97f4a7c15;
}

static void drop(uint32_t core, enum kind kind, uint64_t root, int tag)
{
    for_each_entry(e, core)
        if (e->kind == kind && (!root || e->root == root) && (tag < 0 || e->tag == tag))
            e->kind = FREE;
}

static void set_cr3(struct hw_core *c, uint64_t value)
{
    if (!hw_options.pcids && (value & (HW_CR3_KEEP | HW_CR3_PCID)))
        panic("a reserved bit in CR3: 0x%lx", value);
    c->cr3 = value & ~(HW_CR3_KEEP | HW_CR3_PCID);
    c->pcid = value & HW_CR3_PCID;
    c->cr3_owner = owner_of(c->cr3);
}

// Without PCIDs it drops all of PCID 000H, with them what belongs to the new one, unless bit 63
// says no.
void hw_mov_cr3(uint32_t core, uint64_t value)
{
    set_cr3(&hw[core], value);
    if (!(value & HW_CR3_KEEP))
        drop(core, LINEAR, 0, hw[core].pcid);
}

void hw_invept(uint32_t core, uint64_t root)
{
    drop(core, GUEST, root, -1);
    drop(core, COMBINED, root, -1);
}

void hw_invvpid(uint32_t core, uint16_t vpid) { drop(core, COMBINED, 0, vpid); }

static void check_vmcs(const struct vcpu *v, const char *what)
{
    if (!v->arch.vmcs.v || owner_of(v->arch.vmcs.v) != v->arch.vmcs_owner)
        panic("%s of a vCPU whose VMCS's frame is free or another's", what);
}

void hw_vmptrld(uint32_t core, struct vcpu *v)
{
    check_vmcs(v, "VMPTRLD");
    if (v->arch.active && v->arch.active_on != core)
        panic("VMPTRLD on core %u of a VMCS that is active on core %u", core, v->arch.active_on);
    v->arch.active = 1;
    v->arch.active_on = (uint8_t)core;
    hw[core].vmcs = v;
}

void hw_vmclear(uint32_t core, struct vcpu *v)
{
    check_vmcs(v, "VMCLEAR");
    if (v->arch.active && v->arch.active_on != core)
        panic("VMCLEAR on core %u of a VMCS that is active on core %u", core, v->arch.active_on);
    v->arch.active = 0;
    v->arch.launched = 0;
    if (hw[core].vmcs == v)
        hw[core].vmcs = NULL;
}

void hw_vm_entry(uint32_t core, struct vcpu *v)
{
    check_vmcs(v, "VM entry");
    if (hw[core].vmcs != v || !v->arch.active || v->arch.active_on != core)
        panic("core %u enters a guest whose VMCS is not its current one", core);
    if (v->arch.host_core != core)
        panic("core %u enters a guest that exits to core %u", core, v->arch.host_core);
    v->arch.launched = 1;
    hw[core].ept = v->vm->space.arch.root.v;
    hw[core].vpid = v->arch.vpid;
}

// With VPIDs in use it drops nothing.
void hw_vm_exit(uint32_t core)
{
    set_cr3(&hw[core], hw[core].vmcs->arch.host_cr3);
}

static void keep(uint32_t core, const struct tlb_entry *new)
{
    tlb[core][tlb_next[core]++ % TLB_ENTRIES] = *new;
}

// Walks the tables and remembers every entry on the way, as it may. Tables that the
// paging-structure cache holds are not read again: the walk goes on from the deepest one.
static bool walk(uint32_t core, struct tlb_entry *new)
{
    uint64_t table = new->root;
    unsigned level = HW_LEVELS - 1;
    struct hw_entry e;
    for_each_entry(c, core) {
        uint64_t span = 1ull << (12 + 9 * c->level);
        if (c->kind == new->kind && c->table && c->tag == new->tag && c->root == new->root &&
            c->level <= level && align_down(new->page, span) == align_down(c->page, span)) {
            level = c->level - 1u;
            table = c->frame;
        }
    }
    for (;; level--) {
        if (!hw_entry_read(table, new->page >> (12 + 9 * level) & 511, level, &e))
            return false;
        uint64_t span = 1ull << (12 + 9 * level);
        new->level = (uint8_t)level;
        new->table = !e.leaf;
        new->prot = e.prot;
        new->frame = e.frame.v + (e.leaf ? new->page & (span - 1) : 0);
        new->owner = owner_of(new->frame);
        keep(core, new);
        if (e.leaf)
            return true;
        table = e.frame.v;
    }
}

static struct tlb_entry like(uint32_t core, enum kind kind, uint64_t page)
{
    const struct hw_core *c = &hw[core];
    bool linear = kind == LINEAR;
    return (struct tlb_entry){ .kind = kind, .root = linear ? c->cr3 : c->ept, .page = page,
                               .tag = linear ? c->pcid : kind == COMBINED ? c->vpid : 0 };
}

static const struct tlb_entry *find(uint32_t core, const struct tlb_entry *what)
{
    // A linear entry is found by its PCID alone, wherever it was read.
    for_each_entry(e, core)
        if (e->kind == what->kind && !e->table && e->tag == what->tag && e->page == what->page &&
            (e->kind == LINEAR || e->root == what->root))
            return e;
    return NULL;
}

bool hw_access(uint32_t core, bool guest, uint64_t address, uint8_t prot, struct hpa *out)
{
    uint64_t page = align_down(address, PAGE_SIZE);
    struct tlb_entry new = like(core, guest ? COMBINED : LINEAR, page);
    const struct tlb_entry *e = find(core, &new);
    if (!e && guest) {
        struct tlb_entry physical = like(core, GUEST, page);
        e = find(core, &physical);
    }
    if (!e) {
        if (new.root == HW_KERNEL_ROOT || !walk(core, &new))
            return false;
        e = &new;
    }
    *out = HPA(e->frame + (address - page));
    return (e->prot & prot) == prot;
}

// Any page of these tables, or 0.
static uint64_t any_page(uint64_t table, unsigned level, uint64_t base)
{
    struct hw_entry e;
    unsigned start = random_u64() & 511;
    for (unsigned i = 0; i < 512; i++) {
        unsigned index = (start + i) & 511;
        if (!hw_entry_read(table, index, level, &e))
            continue;
        uint64_t span = 1ull << (12 + 9 * level), at = base + index * span;
        if (e.leaf)
            return at + align_down(random_u64() & (span - 1), PAGE_SIZE);
        uint64_t page = any_page(e.frame.v, level - 1, at);
        if (page)
            return page;
    }
    return 0;
}

static void fill(uint32_t core, enum kind kind)
{
    struct tlb_entry new = like(core, kind, 0);
    if (new.root == HW_KERNEL_ROOT || !new.root)
        return;
    new.page = any_page(new.root, HW_LEVELS - 1, 0);
    if (new.page && !find(core, &new))
        (void)walk(core, &new);
}

void hw_turn(void)
{
    for (uint32_t n = 0; n < hw_options.fills; n++)
        for (uint32_t core = 0; core < cpu_count; core++) {
            fill(core, LINEAR); // also while a guest runs: the exit's tables are known
            if (fake.state[core] == FAKE_GUEST)
                fill(core, random_u64() & 1 ? GUEST : COMBINED);
        }
}

// Is this entry one that the core could use as it is loaded now?
static bool usable(const struct hw_core *c, const struct tlb_entry *e)
{
    return e->kind == LINEAR ? e->tag == c->pcid
                             : e->root == c->ept && (e->kind == GUEST || e->tag == c->vpid);
}

static void check_entry(uint32_t core, const struct tlb_entry *e)
{
    bool running = fake.state[core] == (e->kind == LINEAR ? FAKE_USER : FAKE_GUEST);
    // A walk may start from a cached table at any time; a page is read by who runs.
    if (!usable(&hw[core], e) || !(running || (e->table && e->kind == LINEAR)))
        return;
    if (owner_of(e->frame) != e->owner)
        panic("core %u still has %s of %s at 0x%lx: frame 0x%lx, owner then %u, now %u", core,
              e->table ? "a table" : "a page", e->kind == LINEAR ? "a process" : "a guest",
              e->page, e->frame, e->owner, owner_of(e->frame));
    if (e->kind == LINEAR && running && e->root != hw[core].cr3)
        panic("core %u could use another process's translation of 0x%lx", core, e->page);
}

void hw_check(void)
{
    for (uint32_t core = 0; core < cpu_count; core++) {
        const struct hw_core *c = &hw[core];
        if (c->cr3 != HW_KERNEL_ROOT && owner_of(c->cr3) != c->cr3_owner)
            panic("core %u: the tables in CR3 are free or another's: frame 0x%lx, owner then %u, "
                  "now %u", core, c->cr3, c->cr3_owner, owner_of(c->cr3));
        if (c->vmcs)
            check_vmcs(c->vmcs, "the VMCS that is current on a core is that");
        for_each_entry(e, core)
            if (e->kind != FREE)
                check_entry(core, e);
    }
}

void hw_check_user(uint32_t core, const struct space *s)
{
    if (hw[core].cr3 != s->arch.root.v)
        panic("core %u goes to ring 3 of process %u with other tables in CR3", core, s->owner_id);
    if (hw_options.pcids && hw[core].pcid != (s->arch.cr3 & HW_CR3_PCID))
        panic("core %u goes to ring 3 of process %u with another's PCID", core, s->owner_id);
}
