// SPDX-License-Identifier: BSD-2-Clause
// The isolation audit: passes over what the calls make, and finds what is planted behind their
// back.
#include "kernel.h"

#define VA 0x20000000ull

struct scene {
    struct fake_process p[2];   // VMMs on cores 1 and 2
    int64_t vm[2], ram[2];
    struct vm *v[2];
    struct memory *m[2];
};

static struct scene make_scene(void)
{
    struct scene s = { 0 };
    for (unsigned i = 0; i < 2; i++) {
        uint32_t core = i + 1;
        s.p[i] = fake_spawn(core, 12 * MB, 0);
        s.vm[i] = CALL(core, vm_create, 0);
        s.ram[i] = FINISH(core, mem_create, 6 * MB, PAGE_2M, 0);
        s.v[i] = object_to(fake_object(s.p[i].process, s.vm[i]), vm);
        s.m[i] = object_to(fake_object(s.p[i].process, s.ram[i]), memory);
        assert_int_equal(CALL(core, vm_map, s.vm[i], s.ram[i], 0, 6 * MB, 0, 7), OK);
        assert_int_equal(CALL(core, mem_map, HANDLE_SELF, s.ram[i], 0, 6 * MB, VA,
                              PROT_READ | PROT_WRITE), OK);
    }
    return s;
}

static int64_t audit(void) { return FINISH(0, system_audit, BOOT_HANDLE_SYSTEM); }

static bool log_has(const char *text) { return strstr(fake.log, text) != NULL; }

static void test_clean(void **state)
{
    (void)state;
    make_scene();
    assert_int_equal(audit(), OK);
    // Each VM's memory twice (VM and VMM), and the tables.
    assert_in_range(fake_thread->arch.value, 4 * 6 * 256, 4 * 6 * 256 + 40);
    assert_false(log_has("audit"));
    assert_int_equal(CALL(0, system_audit, HANDLE_SELF), ERR_HANDLE);
}

// Writes an entry as a bug would: no record, no check.
static void plant(struct space *s, uint64_t address, struct hpa frame, uint64_t bytes)
{
    uint64_t done = 0;
    assert_int_equal(arch_map(s, address, frame, bytes, PROT_READ | PROT_WRITE, &done), OK);
    assert_int_equal(done, bytes);
}

// Takes an entry away likewise.
static void clear(struct space *s, uint64_t address, uint64_t bytes)
{
    arch_unmap(s, &address, address + bytes);
}

static void test_overlap_of_vms(void **state)
{
    (void)state;
    struct scene s = make_scene();
    plant(&s.v[1]->space, 64 * MB, HPA(s.m[0]->base.v + 5 * PAGE_SIZE), PAGE_SIZE);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("mapped by no one"));
}

// In the middle of what was mapped properly.
static void test_wrong_frame(void **state)
{
    (void)state;
    struct scene s = make_scene();
    clear(&s.v[1]->space, 4 * MB, 2 * MB);
    plant(&s.v[1]->space, 4 * MB, s.m[0]->base, 2 * MB);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("not what was mapped"));
}

static void test_kernel_frame(void **state)
{
    (void)state;
    struct scene s = make_scene();
    struct hpa frame;
    assert_true(frames_alloc(1, PAGE_SIZE, FRAME_KERNEL, &frame));
    plant(&s.v[0]->space, 64 * MB, frame, PAGE_SIZE);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("not a memory object's"));
}

static void test_own_table_as_leaf(void **state)
{
    (void)state;
    struct scene s = make_scene();
    plant(&s.v[0]->space, 64 * MB, s.v[0]->space.arch.root, PAGE_SIZE);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("a table of its own"));
}

// The kernel maps a frame of a guest, as it did all of them once.
static void test_kernel_map(void **state)
{
    (void)state;
    struct scene s = make_scene();
    arch_own(HPA(s.m[0]->base.v + 17 * PAGE_SIZE), 1);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("kernel 0: memory that is not the kernel's"));
}

static void test_foreign_table(void **state)
{
    (void)state;
    struct scene s = make_scene();
    // Somebody else is the owner of one of its tables.
    uint64_t cursor = 0;
    struct audit_item item;
    while (arch_space_next(&s.v[0]->space, &cursor, &item) && !item.table)
        continue;
    assert_true(item.table);
    frames_set_owner(item.frame, 1, s.v[1]->object.id);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("a table not its own"));
}

static void test_shared_on_purpose(void **state)
{
    (void)state;
    struct scene s = make_scene();
    int64_t ring = CALL(0, mem_create, 4 * PAGE_SIZE, PAGE_SIZE, 0);
    for (uint32_t i = 0; i < 2; i++) {
        CALL(0, handle_copy, s.p[i].handle, ring, RIGHT_READ | RIGHT_WRITE, 100);
        assert_int_equal(CALL(i + 1, vm_map, s.vm[i], 100, 0, 4 * PAGE_SIZE, 64 * MB, 3), OK);
    }
    assert_int_equal(audit(), OK);
}

// A window whose pages come and go one by one, as a VMM maps them when the guest touches them.
static void test_pages_on_demand(void **state)
{
    (void)state;
    static const uint8_t order[] = { 5, 1, 7, 0, 6, 3, 2, 4 };
    struct scene s = make_scene();
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
            uint64_t page = order[i] * PAGE_SIZE;
            assert_int_equal(CALL(1, vm_map, s.vm[0], s.ram[0], page, PAGE_SIZE, 64 * MB + page,
                                  7), OK);
            assert_int_equal(audit(), OK);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
            uint64_t page = order[i] * PAGE_SIZE;
            assert_int_equal(FINISH(1, vm_unmap, s.vm[0], 64 * MB + page, PAGE_SIZE), OK);
            assert_int_equal(audit(), OK);
        }
    }
}

// A process has memory of a VM that is not its own: refused even though it was given a handle.
static void test_vm_memory_elsewhere(void **state)
{
    (void)state;
    struct scene s = make_scene();
    CALL(0, handle_copy, s.p[0].handle, s.p[1].handle, RIGHT_USE, 100);
    assert_int_equal(CALL(1, mem_map, 100, s.ram[0], 0, PAGE_SIZE, VA + 64 * MB, PROT_READ), OK);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("memory of another's vm"));
    assert_int_equal(CALL(2, mem_unmap, HANDLE_SELF, VA + 64 * MB, PAGE_SIZE), OK);
    assert_int_equal(audit(), OK);
}

static void test_module_in_vm(void **state)
{
    (void)state;
    struct scene s = make_scene();
    enum status status;
    struct hpa frame;
    assert_true(frames_alloc(1, PAGE_SIZE, FRAME_RESERVED, &frame));
    struct memory *m = memory_wrap(fake_manager, frame, PAGE_SIZE, MEM_MODULE, &status);
    CALL(0, handle_copy, s.p[0].handle,
         (uint64_t)handle_set(fake_manager, 0, &m->object, RIGHT_ALL), RIGHT_ALL, 100);
    assert_int_equal(CALL(1, vm_map, s.vm[0], 100, 0, PAGE_SIZE, 64 * MB, PROT_READ), ERR_RIGHTS);
    struct mapping *map = space_map(&s.v[0]->space, m, 0, PAGE_SIZE, 64 * MB, PROT_READ, &status);
    assert_int_equal(mapping_map(map), OK);
    assert_int_equal(audit(), ERR_STATE);
    assert_true(log_has("a boot module"));
}

// Many small pages: the walk takes several pieces, and begins again when the space changes between.
static void test_pieces_and_changes(void **state)
{
    (void)state;
    struct scene s = make_scene();
    int64_t small = FINISH(1, mem_create, 2 * MB, PAGE_SIZE, 0);
    for (uint64_t i = 0; i < 40; i++) // misaligned: 40 x 256 entries of 4 KB
        assert_int_equal(CALL(1, vm_map, s.vm[0], small, 0, 1 * MB, 256 * MB + i * 2 * MB + 4096,
                              PROT_READ), OK);
    uint32_t windows = fake.windows;
    assert_int_equal(audit(), OK);
    assert_true(fake.windows - windows > 3);
    // Between two pieces of the walk.
    fake_thread->op = OP_AUDIT;
    memset(&fake_thread->op_state, 0, sizeof(fake_thread->op_state));
    enum op_progress progress;
    do
        progress = audit_piece(fake_thread);
    while (ref_get(fake_thread->op_state.ref) != &s.v[0]->object ||
           !fake_thread->op_state.w[1]); // until the cursor is under way
    assert_int_equal(progress, OP_AGAIN);
    plant(&s.v[0]->space, 0x1000000000, s.m[1]->base, PAGE_SIZE);
    s.v[0]->space.changes++;
    while (audit_piece(fake_thread) == OP_AGAIN)
        continue;
    fake_thread->op = OP_NONE;
    assert_int_equal(fake_thread->op_state.status, ERR_STATE);
}

static void test_after_destroy(void **state)
{
    (void)state;
    struct scene s = make_scene();
    assert_int_equal(FINISH(0, object_destroy, s.p[0].handle), OK);
    assert_int_equal(audit(), OK);
}

// A VM with so many mappings that its audit takes more than one piece, whose VMM maps and unmaps
// one page more without end, while the manager audits.
struct restless {
    struct scene s;
    const struct thread *vmm;
    int64_t page;
    unsigned changes, waited, steps;
};

static struct restless make_restless(void)
{
    struct restless r = { .s = make_scene() };
    r.page = FINISH(1, mem_create, 4 * PAGE_SIZE, PAGE_SIZE, 0);
    r.vmm = cpus[1]->current;
    int64_t small = FINISH(1, mem_create, 2 * MB, PAGE_SIZE, 0);
    for (uint64_t i = 0; i < 20; i++)
        FINISH(1, vm_map, r.s.vm[0], small, 0, 1 * MB, 256 * MB + i * 2 * MB + 4096, PROT_READ);
    assert_true(CALL(0, system_audit, BOOT_HANDLE_SYSTEM) != ERR_BUSY);
    fake_thread->op = OP_AUDIT; // again, piece by piece
    fake_thread->mode = THREAD_OP;
    memset(&fake_thread->op_state, 0, sizeof(fake_thread->op_state));
    return r;
}

// One piece of the audit, and one change, or what core 1 does meanwhile. False: it is at its end.
static bool restless_step(struct restless *r)
{
    if (audit_piece(fake_thread) != OP_AGAIN)
        return false;
    assert_true(r->steps++ < 2000);
    if (cpus[1]->current == r->vmm && r->vmm->mode == THREAD_USER) {
        int64_t status = r->changes++ % 2 ? CALL(1, vm_unmap, r->s.vm[0], 512 * MB, PAGE_SIZE)
                                          : CALL(1, vm_map, r->s.vm[0], r->page, 0, PAGE_SIZE,
                                                 512 * MB, PROT_READ);
        r->waited += status == FAKE_BLOCKED;
    } else {
        fake.now += MS / 10;
        fake_interrupts(1);
    }
    return true;
}

static void end_audit(void)
{
    fake_thread->op = OP_NONE;
    fake_thread->mode = THREAD_USER;
}

// Whoever maps and unmaps without end cannot keep the audit from its end: he waits.
static void test_cannot_be_refused(void **state)
{
    (void)state;
    struct restless r = make_restless();
    while (restless_step(&r)) {
    }
    assert_int_equal(fake_thread->op_state.status, OK);
    assert_true(r.changes > 10 && r.waited);
    end_audit();
    for (unsigned i = 0; i < 100 && r.vmm->mode != THREAD_USER; i++)
        fake_advance(MS / 10);
    assert_int_equal(r.vmm->mode, THREAD_USER); // and then goes on
    assert_int_equal(r.s.v[0]->space.still, 0);
}

// Nor does he wait, or who ends him, for an audit that has lost the VM: it was destroyed meanwhile.
static void test_destroyed_while_it_waits(void **state)
{
    (void)state;
    struct restless r = make_restless();
    while (restless_step(&r) && !r.s.v[0]->space.still) {
    }
    assert_int_equal(r.s.v[0]->space.still, 1);
    while (cpus[1]->current != r.vmm || r.vmm->mode != THREAD_USER) {
        assert_true(restless_step(&r));
        r.s.v[0]->space.still = 0; // as long as it is not his turn
    }
    r.s.v[0]->space.still = 1;
    assert_true(CALL(1, object_destroy, r.s.vm[0]) == FAKE_BLOCKED);
    while (restless_step(&r)) {
    }
    end_audit();
    assert_int_equal(FINISH(0, object_destroy, r.s.p[0].handle), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON4(test_cannot_be_refused), ON4(test_destroyed_while_it_waits),
        ON4(test_clean), ON4(test_overlap_of_vms), ON4(test_wrong_frame), ON4(test_kernel_frame),
        ON4(test_own_table_as_leaf), ON4(test_kernel_map),
        ON4(test_foreign_table),
        ON4(test_shared_on_purpose), ON4(test_pages_on_demand), ON4(test_vm_memory_elsewhere),
        ON4(test_module_in_vm),
        ON4(test_pieces_and_changes), ON4(test_after_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
