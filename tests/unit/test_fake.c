// SPDX-License-Identifier: BSD-2-Clause
// The fake architecture itself: that it refuses what a CPU would refuse or do wrong in silence, and
// keeps what a CPU may keep. What it would not notice, no other test could.
#include "kernel.h"
#include "tests/unit/arch/hardware.h"

#define VA 0x20000000ull

static bool log_has(const char *text) { return strstr(fake.log, text) != NULL; }

struct mapped { struct fake_process p; int64_t h; struct memory *m; struct space *space; };

// A process on core 1 with a page of the manager's at VA.
static struct mapped make_mapped(void)
{
    struct mapped s = { .p = fake_spawn(1, 2 * MB, 0) };
    s.h = CALL(0, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    s.m = object_to(fake_object(fake_manager, s.h), memory);
    s.space = &s.p.process->space;
    assert_int_equal(CALL(0, mem_map, s.p.handle, s.h, 0, PAGE_SIZE, VA, PROT_READ), OK);
    return s;
}

struct guest { struct fake_process p; int64_t h; struct vcpu *v; };

static struct guest make_guest(uint32_t core)
{
    struct guest g = { .p = fake_spawn(core, 8 * MB, 0) };
    int64_t vm = CALL(core, vm_create, 0);
    int64_t page = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, MEM_KERNEL);
    int64_t ram = CALL(core, mem_create, PAGE_SIZE, PAGE_SIZE, 0);
    assert_int_equal(CALL(core, vm_map, vm, ram, 0, PAGE_SIZE, VA, PROT_READ), OK);
    g.h = CALL(core, vcpu_create, vm, 0, page, 0);
    assert_true(g.h > 0);
    g.v = object_to(fake_object(g.p.process, g.h), vcpu);
    assert_true(CALL(core, vcpu_run, g.h) == FAKE_BLOCKED);
    return g;
}

static void clear_page(struct space *s)
{
    uint64_t at = VA;
    assert_true(arch_unmap(s, &at, VA + PAGE_SIZE));
}

static void free_frame(void *base)
{
    frames_free(*(struct hpa *)base, 1);
    hw_check();
}

// A frame is freed while a core that runs in ring 3 has its translation.
static void test_freed_page(void **state)
{
    (void)state;
    struct mapped s = make_mapped();
    struct hpa where;
    hw_options.fills = 0;
    hw_mov_cr3(1, s.space->arch.cr3 & ~HW_CR3_KEEP);
    assert_false(fake_refuses(0, free_frame, &s.m->base)); // nobody looked at it
    assert_true(frames_alloc(1, PAGE_SIZE, s.m->object.id, &s.m->base));
    assert_true(fake_access(1, s.space, VA, PROT_READ, &where));
    assert_true(fake_refuses(0, free_frame, &where));
    assert_true(log_has("still has a page of a process"));
}

// It looks by itself, at any time.
static void test_fills(void **state)
{
    (void)state;
    struct mapped s = make_mapped();
    struct hpa where;
    for (unsigned i = 0; i < 64; i++)
        hw_turn();
    clear_page(s.space);
    assert_true(fake_access(1, s.space, VA, PROT_READ, &where));
    hw_mov_cr3(1, s.space->arch.cr3 & ~HW_CR3_KEEP);
    assert_false(fake_access(1, s.space, VA, PROT_READ, &where));
}

// The tables of CR3 are freed; and a table that a walk may begin from.
static void test_freed_tables(void **state)
{
    (void)state;
    struct mapped s = make_mapped();
    struct hpa root = s.space->arch.root, where;
    struct hw_entry e;
    assert_true(hw_entry_read(root.v, VA >> 39 & 511, 3, &e));
    assert_true(fake_access(1, s.space, VA, PROT_READ, &where));
    fake.state[1] = FAKE_KERNEL;
    assert_true(fake_refuses(0, free_frame, &e.frame));
    assert_true(log_has("still has a table of a process"));
    assert_true(fake_refuses(0, free_frame, &root));
    assert_true(log_has("the tables in CR3"));
}

// With one tag for all, what is loaded without a flush is another process's.
static void keep_cr3(void *root)
{
    hw[0].cr3 = *(uint64_t *)root; // an exit does so
    hw[0].cr3_owner = frames_owner(HPA(hw[0].cr3));
    fake_leave(FAKE_USER);
}

static void test_mixed_tags(void **state)
{
    (void)state;
    struct fake_process other = fake_spawn(1, 1 * MB, 0);
    struct hpa where;
    if (hw_options.pcids)
        return; // each has a tag of its own
    user_page(0);
    assert_true(fake_access(0, &fake_manager->space, USER_PAGE, PROT_READ, &where));
    assert_true(fake_refuses(0, keep_cr3, &other.process->space.arch.root.v));
    assert_true(log_has("another process's translation"));
}

static void guest_without_flush(void *unused)
{
    (void)unused;
    hw_check();
}

static void test_guest_page(void **state)
{
    (void)state;
    struct guest g = make_guest(1);
    struct hpa where;
    hw_options.fills = 0;
    assert_true(fake_access(1, &g.v->vm->space, VA, PROT_READ, &where));
    clear_page(&g.v->vm->space);
    assert_true(fake_access(1, &g.v->vm->space, VA, PROT_READ, &where)); // kept
    frames_set_owner(where, 1, g.v->object.id); // freed, and given to somebody
    assert_true(fake_refuses(0, guest_without_flush, NULL));
    assert_true(log_has("still has a page of a guest"));
    hw_invvpid(1, (uint16_t)(g.v->arch.vpid + 1)); // another's
    assert_true(fake_refuses(0, guest_without_flush, NULL));
    hw_invept(1, g.v->vm->space.arch.root.v);
    assert_false(fake_refuses(0, guest_without_flush, NULL));
}

static void load_vmcs(void *v) { hw_vmptrld(fake.core, v); }
static void clear_vmcs(void *v) { hw_vmclear(fake.core, v); }
static void enter_guest(void *v) { hw_vm_entry(fake.core, v); }
static void read_sregs(void *v) { (void)arch_vcpu_sregs(v, false); }
static void resume_guest(void *v) { arch_resume_guest(v); }

static void test_vmcs(void **state)
{
    (void)state;
    struct guest g = make_guest(1);
    assert_true(fake_refuses(2, load_vmcs, g.v));
    assert_true(log_has("active on core 1"));
    assert_true(fake_refuses(2, clear_vmcs, g.v));
    assert_true(fake_refuses(2, enter_guest, g.v));
    assert_true(fake_refuses(2, read_sregs, g.v));
    assert_true(log_has("touches a vCPU that is not on it"));
    assert_true(fake_refuses(2, resume_guest, g.v));
    fake.state[1] = FAKE_KERNEL;
    hw_vmclear(1, g.v);
    assert_true(fake_refuses(1, enter_guest, g.v));
    frames_free_kernel(g.v->arch.vmcs, 1);
    assert_true(fake_refuses(1, clear_vmcs, g.v));
    assert_true(log_has("free or another's"));
}

static void to_user(void *t) { arch_resume_user(t); }
static void back_to_user(void *unused)
{
    (void)unused;
    fake_back_to_user();
}

// Ring 3 with other tables, of a thread that is not the core's, or with work left to do.
static void test_resume(void **state)
{
    (void)state;
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    assert_true(fake_refuses(2, to_user, p.thread));
    assert_true(log_has("not its current one"));
    cpus[1]->work = CPU_WORK_RESCHED;
    assert_true(fake_refuses(1, to_user, p.thread));
    assert_true(log_has("work"));
    cpus[1]->work = 0;
    cpus[0]->current = p.thread;
    assert_true(fake_refuses(1, to_user, p.thread));
    assert_true(log_has("that core 0 runs"));
    cpus[0]->current = fake_thread;
    assert_false(fake_refuses(1, back_to_user, NULL));
    hw_mov_cr3(1, fake_manager->space.arch.root.v);
    assert_true(fake_refuses(1, back_to_user, NULL));
    assert_true(log_has("with other tables"));
    assert_true(fake_refuses(1, to_user, p.thread)); // cpu->space says that they are loaded
    cpus[1]->space = NULL;
    assert_false(fake_refuses(1, to_user, p.thread));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON2(test_freed_page), ON2(test_fills), ON2(test_freed_tables), ON2(test_mixed_tags),
        ON2(test_guest_page), ON4(test_vmcs), ON2(test_resume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
